"""`chatmesh keys` and `chatmesh token` from the command line, and what a pod makes of them."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatmesh.cli.main import main
from tests.auth.support import HS, bearer
from tests.support.broker import Broker
from tests.support.mesh import client_of, running

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def new(run: Run, file: Path, user: str, *more: str) -> str:
    code, out, _ = run("keys", "new", "--file", str(file), "--user", user, "--tenant", "acme", *more)
    assert code == 0
    return out.strip()


async def test_key_is_printed_once_and_kept_hashed_and_opens_a_pod(
    run: Run, tmp_path: Path, broker: Broker
) -> None:
    file = tmp_path / "keys.yaml"
    key = new(run, file, "alice")
    other = new(run, file, "bob", "--scopes", "read", "--expires", "1d")
    text = file.read_text()
    assert key.split("_", 2)[2] not in text
    assert other.split("_", 2)[2] not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = ("auth.mode=api_keys", f"auth.keys_file={file}")
    async with running(broker.url, *settings, role="pod") as mesh, client_of(mesh) as client:
        for given in (key, other):
            assert (await client.get("/v1/sessions", headers={"x-api-key": given})).status_code == 200
        said = await client.post("/v1/sessions/s/messages", json={"message": "a"}, headers=bearer(other))
        assert said.status_code == 403


def test_list_shows_whose_keys_are_and_no_hash_and_revoke_takes_one_out(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    new(run, file, "alice")
    new(run, file, "bob")
    _, out, _ = run("keys", "list", "--file", str(file), "--json")
    keys: list[dict[str, Any]] = json.loads(out)["keys"]
    assert [key["user"] for key in keys] == ["alice", "bob"]
    assert "hash" not in out
    assert run("keys", "revoke", "--file", str(file), keys[0]["id"])[0] == 0
    _, out, _ = run("keys", "list", "--file", str(file))
    assert "bob" in out
    assert "alice" not in out
    code, _, err = run("keys", "revoke", "--file", str(file), keys[0]["id"])
    assert code == 2
    assert keys[0]["id"] in err


async def test_token_of_the_command_opens_a_pod_with_the_same_secret(run: Run, broker: Broker) -> None:
    given = [argument for setting in HS for argument in ("--set", setting)]
    code, out, _ = run("token", "--user", "alice", "--tenant", "acme", "--ttl", "5m", *given)
    assert code == 0
    async with running(broker.url, *HS, role="pod") as mesh, client_of(mesh) as client:
        assert (await client.get("/v1/sessions", headers=bearer(out.strip()))).status_code == 200


def test_token_is_not_made_without_a_secret(run: Run) -> None:
    code, out, err = run("token", "--user", "alice")
    assert (code, out) == (2, "")
    assert "auth.jwt.secret" in err


@pytest.mark.parametrize("wrong", [("--scopes", "admin"), ("--expires", "soon"), ("--expires", "0d")])
def test_wrong_argument_is_an_error_and_no_key(run: Run, tmp_path: Path, wrong: tuple[str, str]) -> None:
    file = tmp_path / "keys.yaml"
    with pytest.raises(SystemExit) as ended:
        run("keys", "new", "--file", str(file), "--user", "a", *wrong)
    assert ended.value.code == 2
    assert not file.exists()
