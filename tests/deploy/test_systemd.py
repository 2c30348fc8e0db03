"""systemd hears of a process what it has to, from the process itself."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatmesh.app.notifier import Notifier
from tests.faults.support import arguments
from tests.support.broker import Broker
from tests.support.processes import Process

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "chatmesh@.service"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


async def said(manager: socket.socket) -> str:
    async with asyncio.timeout(20):
        return (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode()


async def test_ready_alive_and_stopping_are_told(
    chatmesh: Callable[..., Process], broker: Broker, manager: socket.socket
) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    process = chatmesh(*arguments(broker.url, "all", "me"), env=environ)
    heard = [await said(manager)]
    while heard[-1] != "READY=1":
        heard.append(await said(manager))
    assert set(heard[:-1]) <= {"WATCHDOG=1"}
    assert '"event": "app.ready"' in process.stderr
    assert [await said(manager) for _ in range(3)] == ["WATCHDOG=1"] * 3
    code = asyncio.create_task(process.terminate(timeout=20))
    while heard[-1] != "STOPPING=1":
        heard.append(await said(manager))
    assert await code == 0


async def test_a_manager_that_does_not_listen_stops_nobody(
    chatmesh: Callable[..., Process], broker: Broker, tmp_path: Path
) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "200000"}
    process = chatmesh(*arguments(broker.url, "all", "me"), env=environ)
    await process.wait_for_line('"event": "app.ready"', stream="stderr")
    await process.wait_for_line('"event": "app.not_notified"', stream="stderr")
    assert await process.terminate(timeout=20) == 0


@pytest.mark.parametrize(
    ("environ", "pause"),
    [
        ({"NOTIFY_SOCKET": "@x"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, 15.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_what_is_asked_for_is_in_the_environment(environ: dict[str, str], pause: float | None) -> None:
    notifier = Notifier.of(environ)
    assert notifier is not None
    assert notifier._pause_seconds == pause


def test_without_systemd_nobody_is_told() -> None:
    assert Notifier.of({}) is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_well_formed(tmp_path: Path) -> None:
    unit = tmp_path / "chatmesh@pod.service"
    unit.write_text(UNIT.read_text().replace("/opt/chatmesh/bin/chatmesh", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, timeout=60, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr
