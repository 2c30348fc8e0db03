"""The processes of a run: nats-servers, pods and workers of this very program, on free ports, in one folder.

They are started, hit by steps of the plan, started again, looked after (one that ends unasked is a finding), and killed
at the end whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from chatmesh.client import Client
from chatmesh.devbroker import find_server
from chatmesh.errors import ChatmeshError, Exit
from chatmesh.operate.chaos.check import Finding, Kind
from chatmesh.operate.chaos.configured import node
from chatmesh.operate.chaos.plan import Size, Step
from chatmesh.operate.chaos.recovery import Hit
from chatmesh.operate.processes import Child, distinct_ports, environment, server_file

START_SECONDS = 60.0
"""For everything to be up: a second or two on an idle machine, and a cluster's first election some more."""

LEAVE_SECONDS = 20.0
"""After SIGTERM: `worker.drain_seconds` and `http.shutdown_seconds` are 1 and 3, the rest is the machine's."""

LOOK_SECONDS = 0.1


class World:
    """Start it, hit it, close it. `close` may be called at any time and leaves no process."""

    def __init__(self, folder: Path, size: Size, *, is_fenced: bool) -> None:
        self.folder = folder
        self.hits: list[Hit] = []
        self.findings: list[Finding] = []
        self.skipped = 0
        self.failed_starts = 0
        ports = iter(distinct_ports(3 * size.servers + size.pods))
        clients, monitors, routes = ([next(ports) for _ in range(size.servers)] for _ in range(3))
        self.servers = [f"nats://127.0.0.1:{port}" for port in clients]
        self._monitors = [f"http://127.0.0.1:{port}" for port in monitors]
        self._env = environment(os.environ)
        brokers = []
        for at, (client, monitor, route) in enumerate(zip(clients, monitors, routes, strict=True)):
            name = f"nats-{at + 1}"
            text = server_file(name, client, monitor, folder / name, route, routes)
            brokers.append(self._broker(name, text))
        pod_ports = [next(ports) for _ in range(size.pods)]
        self.pods = [f"http://127.0.0.1:{port}" for port in pod_ports]

        def member(role: str, number: int, port: int) -> Child:
            command = node(
                role,
                f"{role}-{number}",
                servers=self.servers,
                port=port,
                replicas=size.servers,
                is_fenced=is_fenced,
            )
            return self._child(f"{role}-{number}", *command)

        self._members = {
            "broker": brokers,
            "worker": [member("worker", number + 1, 0) for number in range(size.workers)],
            "pod": [member("pod", number + 1, port) for number, port in enumerate(pod_ports)],
        }

    @property
    def logs(self) -> list[Path]:
        """Of every process of ours; the servers' are not chatmesh's."""
        return [child.log for role in ("pod", "worker") for child in self._members[role]]

    async def start(self) -> None:
        """Returns when every process serves. Raises ChatmeshError where one does not, with its last words."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._start_all("broker")
                await self._wait_for_servers()
                await self._start_all("worker", "pod")
                for child in [*self._members["worker"], *self._members["pod"]]:
                    await self._wait_ready(child)
        except TimeoutError as error:
            raise ChatmeshError(
                f"the mesh was not up within {START_SECONDS:g} s",
                where=str(self.folder),
                mend="Is the machine very busy? The logs there say what is missing.",
            ) from error

    async def watch(self) -> None:
        """For ever: who ends unasked is begun again, and told of. A start that did not find the broker is a matter of
        course while it is away; whoever runs pods in earnest has something that begins them again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for role, children in self._members.items():
                for child in children:
                    if not child.is_away and not child.is_running:
                        self._on_end(role, child)
                        await child.start()

    async def hit(self, step: Step, clock: Callable[[], float]) -> None:
        """Carries a step out, to the start or thaw that ends it; none where its target is away."""
        child = self._members[step.fault.role][step.target]
        if child.is_away or not child.is_running:
            self.skipped += 1
            return
        began = clock()
        child.is_away = True
        try:
            await self._hurt(child, step)
        finally:
            child.is_away = False
        self.hits.append(Hit(step.fault, child.name, began, clock()))

    async def close(self) -> None:
        """Kills and reaps everything."""
        children = [child for members in self._members.values() for child in members]
        for child in children:
            child.is_away = True
            child.send(signal.SIGKILL)
        for child in children:
            await child.kill()

    # --- one process -----------------------------------------------------------------------------------------------

    async def _hurt(self, child: Child, step: Step) -> None:
        if step.fault.way == "stop":
            child.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(step.seconds)
            finally:
                child.send(signal.SIGCONT)
            return
        if step.fault.way == "term":
            child.send(signal.SIGTERM)
            if not await child.wait(LEAVE_SECONDS):
                self._find(child, f"was still there {LEAVE_SECONDS:g} s after SIGTERM")
        await child.kill()
        await asyncio.sleep(step.seconds)
        await child.start()

    def _on_end(self, role: str, child: Child) -> None:
        if role != "broker" and child.returncode == Exit.BROKER and not child.said('"app.ready"'):
            self.failed_starts += 1
        else:
            self._find(child, f"ended unasked with {child.returncode}: {child.last_words()}")

    def _find(self, child: Child, detail: str) -> None:
        self.findings.append(Finding(Kind.PROCESS, child.name, "", detail))

    def _broker(self, name: str, text: str) -> Child:
        file = self.folder / f"{name}.conf"
        file.write_text(text)
        return self._child(name, find_server(), "-c", file)

    def _child(self, name: str, *command: str | Path) -> Child:
        return Child(name, command, self.folder / f"{name}.log", self._env)

    # --- the beginning ---------------------------------------------------------------------------------------------

    async def _start_all(self, *roles: str) -> None:
        for role in roles:
            for child in self._members[role]:
                await child.start()

    async def _wait_for_servers(self) -> None:
        """Until JetStream works at every server: of a cluster that is, until there is a leader."""
        for url, child in zip(self._monitors, self._members["broker"], strict=True):
            async with Client([url]) as client:
                while (await client.get("/healthz"))[0] != 200:
                    _check_alive(child)
                    await asyncio.sleep(LOOK_SECONDS)

    async def _wait_ready(self, child: Child) -> None:
        """A cluster on a busy machine may be too slow for one who makes its streams: that one is begun again."""
        while not child.said('"app.ready"'):
            if child.returncode == Exit.BROKER:
                self.failed_starts += 1
                await child.start()
            _check_alive(child)
            await asyncio.sleep(LOOK_SECONDS)


def _check_alive(child: Child) -> None:
    if not child.is_running:
        raise ChatmeshError(
            f"{child.name} ended at its start with {child.returncode}",
            where=str(child.log),
            mend=child.last_words(),
        )
