"""What a process says when it is up, and how one that can't start ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from chatmesh import __version__
from tests.operate.support import Start, finished
from tests.support.broker import Broker

pytestmark = pytest.mark.slow


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def servers_of(data: Path) -> list[int]:
    """The nats-servers that were started for that folder and still run."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        command = process.info["cmdline"] or []
        if any(argument.startswith(str(data)) for argument in command):
            found.append(process.info["pid"])
    return found


@pytest.mark.parametrize(
    ("role", "roles"), [("pod", ["pod"]), ("worker", ["worker"]), ("all", ["pod", "worker"])]
)
async def test_every_role_says_that_it_is_ready(
    chatmesh: Start, broker: Broker, role: str, roles: list[str]
) -> None:
    process = chatmesh(
        "run", "--role", role, "--id", "me", "--set", f"nats.servers={broker.url}", "--set", "http.port=0"
    )
    line = json.loads((await process.wait_for_line('"event": "app.ready"', stream="stderr")).string)
    assert line["id"] == "me"
    assert sorted(line["roles"]) == roles
    assert (line["url"] is None) is (role == "worker")
    assert await process.terminate(timeout=20) == 0
    assert process.stderr.count('"event": "app.ready"') == 1


async def test_banner_of_dev_says_the_version(chatmesh: Start) -> None:
    process = chatmesh("dev", "--ephemeral", "--port", "0")
    await process.wait_for_line(f"chatmesh {__version__} is running", stream="stdout")
    assert await process.terminate(timeout=20) == 0


async def test_port_in_use_is_exit_5_and_leaves_nothing_running(chatmesh: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with taken_port() as port:
        code, process = await finished(chatmesh, "dev", "--data", str(data), "--port", str(port))
    assert code == 5
    last = process.stderr.splitlines()[-1]
    assert f"127.0.0.1:{port}" in last
    assert "http.port" in last
    assert (data / "nats-server.conf").exists()  # it was up before the port was tried
    assert servers_of(data) == []
    assert process.stdout == ""


@pytest.mark.slow
async def test_dev_starts_again_where_a_taken_port_stopped_it(chatmesh: Start, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with taken_port() as port:
        assert (await finished(chatmesh, "dev", "--data", data, "--port", str(port)))[0] == 5
    process = chatmesh("dev", "--data", data, "--port", "0")
    await process.wait_for_line("is running", stream="stdout")
    assert await process.terminate(timeout=20) == 0


async def test_data_folder_inside_a_file_is_a_clear_error(chatmesh: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, process = await finished(chatmesh, "dev", "--data", str(tmp_path / "file" / "data"), "--port", "0")
    assert code == 2
    last = process.stderr.splitlines()[-1]
    assert str(tmp_path / "file" / "data") in last
    assert "Choose a directory that this user may write to" in last
    assert "Traceback" not in process.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_data_folder_that_can_not_be_written_is_a_clear_error(chatmesh: Start, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, process = await finished(
        chatmesh, "dev", "--data", str(tmp_path / "locked" / "data"), "--port", "0"
    )
    assert code == 2
    assert str(tmp_path / "locked" / "data") in process.stderr.splitlines()[-1]
