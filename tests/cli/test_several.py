"""`chatmesh run --processes`: several processes behind one port, each with an id of its own; one that dies is begun again."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from chatmesh.operate.processes import VARIABLE, Readiness
from tests.cli.support import Chatmesh, StartProcess
from tests.support.broker import Broker
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.reading import events, post
from tests.support.waiting import eventually

PROCESSES = 2
SECONDS = 60.0


async def start(chatmesh: StartProcess, broker: Broker) -> tuple[Process, int]:
    """A pod and a worker in each process; returns once all are ready."""
    port = free_port(PROCESSES + 1)
    process = chatmesh(
        *("run", "--role", "all", "--id", "web", "--processes", str(PROCESSES)),
        *("--set", f"nats.servers={broker.url}", "--set", f"http.port={port}"),
    )
    await process.wait_for_line("app.all_ready", stream="stderr", timeout=SECONDS)
    return process, port


def pids(process: Process) -> dict[str, int]:
    """Of the processes behind it, by their ids."""
    found = {}
    for child in psutil.Process(process.pid).children():
        try:
            command = child.cmdline()
        except psutil.NoSuchProcess:  # dead, and about to be begun again
            continue
        if "--id" in command:  # else it is just being begun
            found[command[len(command) - 1 - command[::-1].index("--id") + 1]] = child.pid
    return found


async def is_ready(port: int) -> bool:
    async with httpx.AsyncClient(timeout=5) as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
        except httpx.TransportError:
            return False


async def requests_at(port: int) -> float:
    """Messages that the process behind this own port has accepted."""
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    lines = [
        line
        for line in text.splitlines()
        if line.startswith("chatmesh_http_requests_total") and "messages" in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.mark.slow
async def test_processes_share_the_port_and_a_dead_one_comes_back(
    chatmesh: StartProcess, broker: Broker
) -> None:
    process, port = await start(chatmesh, broker)
    before = pids(process)
    assert set(before) == {"web-1", "web-2"}

    async def is_spread() -> bool:
        """New connections, until each process had one: the kernel deals them out."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            await post(client, "s", model="echo")
        return all([await requests_at(port + number) for number in (1, 2)])

    await eventually(is_spread, timeout=SECONDS)
    psutil.Process(before["web-2"]).kill()
    await eventually(lambda: pids(process).get("web-2", before["web-2"]) != before["web-2"], timeout=SECONDS)
    await eventually(lambda: is_ready(port + 2), timeout=SECONDS)
    assert pids(process)["web-1"] == before["web-1"]
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
        events(client, "t") as stream,
    ):
        assert (await post(client, "t", "after it", model="echo")).status_code == 202
        assert (await stream.read_finals()).text == "after it"
    assert await process.terminate(timeout=SECONDS) == 0
    assert not any(psutil.pid_exists(pid) for pid in before.values())


@pytest.mark.slow
async def test_they_die_with_the_one_that_keeps_them(chatmesh: StartProcess, broker: Broker) -> None:
    process, port = await start(chatmesh, broker)
    kept = pids(process).values()
    process.signal(signal.SIGKILL)
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in kept), timeout=SECONDS)
    assert not await is_ready(port)


@pytest.mark.slow
async def test_a_port_of_its_own_that_is_taken_is_said(run: Chatmesh, broker: Broker) -> None:
    port = free_port(PROCESSES + 1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + 1))
        other.listen()
        ended = run(
            *("run", "--role", "pod", "--processes", "2", "--id", "web"),
            *("--set", f"http.port={port}", "--set", f"nats.servers={broker.url}"),
        )
    assert ended.code == 5
    assert f"another program listens on this port at 127.0.0.1:{port + 1}" in ended.stderr
    assert "web-1 ended with exit code 5" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "http.port=0"), "http.port"),
        (("--set", "http.port=65535"), "ports"),
        (("--set", "nats.embedded=true"), "nats.embedded"),
    ],
)
def test_what_can_not_be_shared_is_refused(run: Chatmesh, arguments: tuple[str, ...], words: str) -> None:
    ended = run("run", "--processes", "2", *arguments)
    assert ended.code in (2, 5)
    assert words in ended.stderr


def test_less_than_one_process_is_refused(run: Chatmesh) -> None:
    ended = run("run", "--processes", "0")
    assert ended.code == 2
    assert "--processes: at least 1 is expected" in ended.stderr


@pytest.mark.slow
async def test_systemd_hears_of_readiness_once_all_are_ready(
    chatmesh: StartProcess, broker: Broker, tmp_path: Path
) -> None:
    port, told = free_port(PROCESSES + 1), Readiness(tmp_path)
    try:
        process = chatmesh(
            *("run", "--role", "pod", "--id", "web", "--processes", str(PROCESSES)),
            *("--set", f"nats.servers={broker.url}", "--set", f"http.port={port}"),
            env={VARIABLE: told.address},
        )
        assert await told.wait(SECONDS)
        assert all([await is_ready(port + number) for number in range(1, PROCESSES + 1)])
        assert await process.terminate(timeout=SECONDS) == 0
    finally:
        told.close()
