"""What each role has for itself while something goes on, and how fast it grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from chatmesh.operate.bench.measured import BLOCKS, RESIDENT, Run
from chatmesh.operate.bench.meters import own_kib, resident_kib
from chatmesh.operate.bench.slope import settled, slope

SAMPLES = 240
LEAST_SECONDS = 0.5
"""Between two samples."""

ANSWER_SECONDS = 5.0
METRIC = b"chatmesh_heap_blocks "


class GrowthWatch:
    """Samples by role, about `SAMPLES` over so many seconds, whenever it is asked to look. `pids` of each role, and the ports
    where its processes tell their metrics."""

    def __init__(
        self,
        pids: Callable[[], Mapping[str, Sequence[int]]],
        seconds: float,
        ports: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._pids = pids
        self._ports = ports or {}
        self._every = max(LEAST_SECONDS, seconds / SAMPLES)
        self._next = 0.0
        self.samples: list[dict[str, float]] = []
        """`minutes` since the first look, and KiB by role."""
        self._began: float | None = None

    async def look(self, now: float) -> None:
        """Takes a sample where one is due at `now` (seconds)."""
        if self._began is None:
            self._began = now
        elif now < self._next:
            return
        self._next = now + self._every
        sample = {"minutes": (now - self._began) / 60}
        for role, pids in self._pids().items():
            sample[role] = sum(map(own_kib, pids))
            sample[role + RESIDENT] = sum(map(resident_kib, pids))
        for role, ports in self._ports.items():
            sample[role + BLOCKS] = sum([await heap_blocks(port) for port in ports])
        self.samples.append(sample)

    def tell(self, run: Run) -> None:
        """Fills in the slopes of the second half, in KiB a minute, with those of its quarters as their spread."""
        run.samples = self.samples
        for role in self._pids():
            self._tell_slope(run, f"{role}_slope", role)
        for role in self._ports:
            self._tell_slope(run, f"{role}_blocks", role + BLOCKS)

    def _tell_slope(self, run: Run, key: str, name: str) -> None:
        found = slope(settled([(sample["minutes"], sample[name]) for sample in self.samples]))
        if found is not None:
            run.figures[key] = found.value
            run.spreads[key] = [found.least, found.most]


async def heap_blocks(port: int) -> float:
    """What a process of ours says of its heap in its metrics; 0 where it says nothing."""
    lines: list[bytes] = []
    with suppress(OSError, TimeoutError):  # it serves no HTTP, or has no time: memory is sampled all the same
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                lines = (await reader.read(-1)).splitlines()
            finally:
                writer.close()
    found = [line.removeprefix(METRIC) for line in lines if line.startswith(METRIC)]
    return float(found[0]) if found else 0.0
