"""What is measured: the floor's one process, or a broker, pods and workers. Begun for each run, in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from chatmesh.client import Client
from chatmesh.devbroker import find_server
from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench.layout import Layout, on
from chatmesh.operate.bench.meters import cpu_seconds, disk_kib, memory_kib
from chatmesh.operate.processes import (
    VARIABLE,
    Child,
    Readiness,
    distinct_ports,
    environment,
    node_command,
    server_file,
)

START_SECONDS = 60.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 0.02
FLOOR = (sys.executable, "-m", "chatmesh.web.floor")


class Served:
    """Processes by their role. `ports` are those that a client may ask, `metrics` those where each process tells its own, by
    role; `broker` is its URL, where there is one."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        self.ports: tuple[int, ...] = ()
        self.metrics: dict[str, list[int]] = {}
        self.broker = ""
        self.members: dict[str, list[Child]] = {}
        self._layout = layout
        self._env = environment(os.environ)

    async def start(self) -> None:
        """Returns when everything serves. Raises ChatmeshError where it does not, with the last words of whom."""
        raise NotImplementedError

    async def strike(self) -> None:
        """Kills one that answers, as `kill -9` does."""
        raise NotImplementedError

    async def time_start(self, role: str) -> float:
        """How long one more takes to be ready, in seconds; it is ended again."""
        raise NotImplementedError

    async def end_nodes(self) -> None:
        """Ends pods and workers; the broker stays."""
        raise NotImplementedError

    async def begin_nodes(self) -> None:
        """Begins them; returns when they are ready."""
        raise NotImplementedError

    def cpu(self) -> dict[str, float]:
        """CPU seconds by role."""
        return {role: sum(map(cpu_seconds, pids)) for role, pids in self.pids().items()}

    def memory(self) -> dict[str, float]:
        """KiB by role."""
        return {role: sum(map(memory_kib, pids)) for role, pids in self.pids().items()}

    def disk_kib(self) -> float:
        """Of everything in its folder, the broker's store among it."""
        return sum(map(disk_kib, self.folder.rglob("*")))

    async def close(self) -> None:
        """Ends everything, by force where it has to."""
        children = [child for members in self.members.values() for child in members]
        for child in children:
            child.send(signal.SIGKILL)
        for child in children:
            await child.kill()

    def check(self) -> None:
        """Raises ChatmeshError where one has ended unasked."""
        for members in self.members.values():
            for child in members:
                if not child.is_away:
                    check_alive(child)

    async def begin(self, child: Child) -> None:
        """On the servers' cores."""
        with on(self._layout.servers):
            await child.start()

    def child(self, name: str, *command: str | Path) -> Child:
        return Child(name, command, self.folder / f"{name}.log", self._env)

    def pids(self) -> dict[str, list[int]]:
        """By role, with the processes that these have begun themselves."""
        return {
            role: [pid for child in children if child.pid is not None for pid in family(child.pid)]
            for role, children in self.members.items()
        }


class FloorServed(Served):
    """The bare server."""

    async def start(self) -> None:
        self.ports = tuple(distinct_ports(1))
        floor = self.child("floor", *FLOOR, str(self.ports[0]))
        self.members = {"floor": [floor]}
        await self.begin(floor)
        async with asyncio.timeout(START_SECONDS):
            while not _listens(self.ports[0]):
                self.check()
                await asyncio.sleep(LOOK_SECONDS)


class MeshServed(Served):
    """A broker, unless `broker` names one that is there; pods, of so many `processes` each, and workers."""

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        *,
        pods: int,
        workers: int,
        settings: Mapping[str, object],
        broker: str | None,
        processes: int = 1,
    ) -> None:
        super().__init__(folder, layout)
        # A pod of several processes has a port for each behind the one that they share.
        client, self._monitor, *ports = distinct_ports(
            2 + pods + workers, in_a_row=processes + 1 if processes > 1 else 1
        )
        self._processes = processes
        self.ports = tuple(ports[:pods])
        self.broker = broker or f"nats://127.0.0.1:{client}"
        self._has_broker = broker is None
        self._joined = 0
        self._readiness: dict[str, Readiness] = {}
        self._settings = {
            "nats.servers": self.broker,
            "nats.connect_seconds": 30,
            "log.format": "json",
            **settings,
        }
        if broker is None:
            file = folder / "nats.conf"
            file.write_text(server_file("bench", client, self._monitor, folder / "nats"))
            self.members["broker"] = [self.child("nats-server", find_server(), "-c", file)]
        self.members["pod"] = [self.node("pod", number + 1, port) for number, port in enumerate(self.ports)]
        self.members["worker"] = [
            self.node("worker", number + 1, port) for number, port in enumerate(ports[pods:])
        ]
        if settings.get("http.enabled"):
            self.metrics = {"pod": own_ports(self.ports, processes), "worker": ports[pods:]}

    def node(self, role: str, number: int, port: int = 0) -> Child:
        """One more that has not begun."""
        name = f"{role}-{number}"
        self._readiness[name] = readiness = Readiness(self.folder)
        command = node_command(role, name, {**self._settings, "http.port": port})
        if role == "pod" and self._processes > 1:
            command += ["--processes", str(self._processes)]
        return Child(name, command, self.folder / f"{name}.log", {**self._env, VARIABLE: readiness.address})

    async def start(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                if self._has_broker:
                    await self.begin(self.members["broker"][0])
                    await self._wait_for_broker()
                await self.begin_nodes()
        except TimeoutError as error:
            raise ChatmeshError(
                f"the mesh was not up within {START_SECONDS:g} s",
                where=str(self.folder),
                mend="Is the machine very busy? The logs there say what is missing.",
            ) from error

    async def close(self) -> None:
        await super().close()
        for readiness in self._readiness.values():
            readiness.close()

    async def strike(self) -> None:
        worker = self.members["worker"][0]
        worker.is_away = True
        await worker.kill()

    async def end_nodes(self) -> None:
        for child in self._nodes:
            child.is_away = True
            child.send(signal.SIGTERM)
        for child in self._nodes:
            if not await child.wait(STOP_SECONDS):
                await child.kill()

    async def begin_nodes(self) -> None:
        for child in self._nodes:
            await self.begin(child)
            child.is_away = False
        for child in self._nodes:
            await self.wait_ready(child)

    @property
    def _nodes(self) -> list[Child]:
        return [*self.members["worker"], *self.members["pod"]]

    async def time_start(self, role: str) -> float:
        loop = asyncio.get_running_loop()
        self._joined += 1
        child = self.node(role, len(self.members[role]) + self._joined, distinct_ports(1)[0])
        began = loop.time()
        await self.begin(child)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.wait_ready(child)
            return loop.time() - began
        finally:
            await child.kill()

    async def wait_ready(self, child: Child) -> None:
        """Until it has said so itself."""
        while not await self._readiness[child.name].wait(LOOK_SECONDS):
            check_alive(child)

    async def _wait_for_broker(self) -> None:
        async with Client([f"http://127.0.0.1:{self._monitor}"]) as client:
            while (await client.get("/healthz"))[0] != 200:
                self.check()
                await asyncio.sleep(LOOK_SECONDS)


def own_ports(ports: Sequence[int], processes: int) -> list[int]:
    """Where each process of these pods tells its metrics: those of several lie behind the one that they share."""
    if processes == 1:
        return list(ports)
    return [port + number for port in ports for number in range(1, processes + 1)]


def family(pid: int) -> list[int]:
    """A process and all that it has begun; `--processes` makes several of one."""
    with suppress(psutil.Error):  # it has just ended, and its clocks are read as nothing
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return [pid]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check_alive(child: Child) -> None:
    """Raises ChatmeshError where it has begun and ended."""
    if child.returncode is not None:
        raise ChatmeshError(
            f"{child.name} ended with {child.returncode}", where=str(child.log), mend=child.last_words()
        )
