"""What a run needs of the system: clocks, cores, and the word of a process that it is ready."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench.layout import Layout, allow_files, layout, on
from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.meters import busy_seconds, cpu_seconds, memory_kib, quiet
from chatmesh.operate.processes import VARIABLE, Child, Readiness


def test_clocks_of_a_process_go_on_and_those_of_a_dead_one_stand() -> None:
    before, busy = cpu_seconds(os.getpid()), busy_seconds()
    sum(number * number for number in range(2_000_000))
    assert cpu_seconds(os.getpid()) > before
    assert busy_seconds() >= busy
    assert memory_kib(os.getpid()) > 1000
    gone = 2**22 + 1  # above the largest pid
    assert (cpu_seconds(gone), memory_kib(gone)) == (0.0, 0.0)


def test_a_killed_process_does_not_count_backwards() -> None:
    run = Run(1, "takeover", "mesh")
    run.spent({"worker": 5.0, "pod": 1.0}, {"worker": 2.0, "pod": 1.5})
    assert run.cpu == {"worker": 0.0, "pod": 0.5}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin")
async def test_children_run_where_they_are_put_and_we_stay_where_we_were(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    child = Child("sleeper", [sys.executable, "-c", "input()"], tmp_path / "log", os.environ)
    with on(frozenset({core})):
        await child.start()
    try:
        assert child.pid is not None
        assert os.sched_getaffinity(child.pid) == {core}
        assert os.sched_getaffinity(0) == before
    finally:
        await child.kill()
    assert child.pid is None


def test_pinned_is_two_cores_and_free_is_none() -> None:
    assert layout("free") == Layout()
    pinned = layout("pinned")
    if pinned.servers is not None and pinned.client is not None:
        assert len(pinned.servers) == len(pinned.client) == 1
        assert pinned.servers != pinned.client


def test_more_files_than_are_allowed_are_refused() -> None:
    with pytest.raises(ChatmeshError, match="ulimit"):
        allow_files(2**40)


async def test_readiness_is_heard_from_a_process_and_only_then(tmp_path: Path) -> None:
    readiness = Readiness(tmp_path)
    code = (
        "import os, socket\n"
        "out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "name = os.environ['NOTIFY_SOCKET']\n"
        "name = '\\0' + name[1:] if name[0] == '@' else name\n"
        "out.sendto(b'WATCHDOG=1', name); out.sendto(b'READY=1', name)\n"
    )
    assert not await readiness.wait(0.01)
    child = Child(
        "one", [sys.executable, "-c", code], tmp_path / "log", {**os.environ, VARIABLE: readiness.address}
    )
    await child.start()
    assert await readiness.wait(20)
    await child.wait(20)
    readiness.close()


async def test_a_word_that_is_no_readiness_is_none(tmp_path: Path) -> None:
    readiness = Readiness(tmp_path)
    address = readiness.address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"STATUS=soon", f"\0{address[1:]}" if address[0] == "@" else address)
    waiting = asyncio.create_task(readiness.wait(0.2))
    assert await waiting is False
    readiness.close()


async def test_a_machine_that_is_never_quiet_is_not_waited_for_for_ever() -> None:
    assert await quiet(0) is False
    busy = Child("busy", [sys.executable, "-c", "while True: pass"], Path(os.devnull), os.environ)
    await busy.start()
    try:
        assert await quiet(0.1) is False
    finally:
        await busy.kill()
