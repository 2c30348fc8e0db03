"""`chatmesh natsconf` as a command, and what a configuration may not send in clear."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from chatmesh.cli import main
from chatmesh.errors import Exit

PORT = ("--port", "4999")


def test_seeds_are_readable_by_nobody_else_and_stand_in_no_other_file(tmp_path: Path) -> None:
    out = tmp_path / "nats"
    assert main(["natsconf", "--pods", "1", "--workers", "2", "--out", str(out), *PORT]) == Exit.OK
    seeds = {file.stem: file.read_text().strip() for file in out.glob("*.nk")}
    assert set(seeds) == {"pod-1", "worker-1", "worker-2", "monitor", "deploy"}
    assert len(set(seeds.values())) == 5
    for file in out.iterdir():
        if file.suffix == ".nk":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        else:
            assert not any(seed in file.read_text() for seed in seeds.values())
    server = (out / "nats-server.conf").read_text()
    assert "no_auth_user" not in server
    assert "allow_responses" not in server
    for id in seeds:
        assert main(["check", "-c", str(out / f"{id}.yaml")]) == Exit.OK
        assert yaml.safe_load((out / f"{id}.yaml").read_text())["id"] == id


def test_files_that_are_there_stay_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["natsconf", "--out", str(tmp_path), *PORT]
    assert main(arguments) == Exit.OK
    (tmp_path / "nats-server.conf").unlink()
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert main(arguments) == Exit.USAGE
    assert "--force" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert main([*arguments, "--force"]) == Exit.OK
    assert all(file.read_bytes() != text for file, text in before.items() if file.suffix == ".nk")


def test_without_a_folder_the_server_is_printed_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["natsconf", "--pods", "3"]) == Exit.OK
    printed = capsys.readouterr().out
    assert "nobody has the seeds" in printed
    assert '"chat.pod.pod-3.response"' in printed
    assert "SU" not in printed.replace("SUB", "")[:200]
    assert not list(tmp_path.iterdir())


def test_certificate_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["natsconf", "--out", str(tmp_path / "o"), "--tls", str(tmp_path)]) == Exit.USAGE
    assert "server.pem" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


FAR = "nats.servers=nats://10.1.2.3:4222"
PASSWORD = ("nats.user=ann", "nats.password=xyzzy-secret")


@pytest.mark.parametrize(
    "settings",
    [
        (FAR, *PASSWORD),
        (FAR, "nats.token=xyzzy-secret"),
        ("nats.servers=nats://127.0.0.1:4222,nats://broker.example:4222", *PASSWORD),
        ("nats.servers=nats://[2001:db8::1]:4222", *PASSWORD),
        ("nats.servers=nats://127.0.0.1.example.com:4222", *PASSWORD),
    ],
)
def test_secret_that_would_go_in_clear_to_another_machine_is_refused(
    settings: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for command in ("check", "run"):
        assert main([command, *_flags(settings)]) == Exit.USAGE
        said = capsys.readouterr().err
        assert "nats.allow_cleartext" in said
        assert "tls://" in said
        assert "xyzzy" not in said


@pytest.mark.parametrize(
    "settings",
    [
        ("nats.servers=tls://10.1.2.3:4222", *PASSWORD),
        (FAR, "nats.tls.handshake_first=true", *PASSWORD),
        (FAR, "nats.allow_cleartext=true", *PASSWORD),
        (FAR, "nats.nkey_seed_file=/run/seed.nk"),
        (FAR, "nats.creds_file=/run/user.creds"),
        (FAR,),
        ("nats.servers=nats://127.0.0.1:4222,nats://localhost:4223,nats://[::1]:4224", *PASSWORD),
        (FAR, "nats.embedded=true", "nats.token=x"),
    ],
)
def test_what_sends_no_secret_in_clear_is_let_pass(settings: tuple[str, ...]) -> None:
    assert main(["check", *_flags(settings)]) == Exit.OK


def _flags(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]
