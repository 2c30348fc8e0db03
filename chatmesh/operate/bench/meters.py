"""What processes cost: CPU time and memory by their ids, and what everybody else on the machine used meanwhile."""

from __future__ import annotations

import asyncio
import platform
import time
from contextlib import suppress
from pathlib import Path

import psutil

_CPU_CLOCK = 2
"""Linux's number for the clock that counts all threads of a process, the ended ones too (clock_getcpuclockid(3))."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process up to now; to the nanosecond on Linux, 0 where it is gone."""
    if platform.system() == "Linux":
        try:
            return time.clock_gettime((~pid << 3) | _CPU_CLOCK)
        except OSError:
            return 0.0
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def memory_kib(pid: int) -> float:
    """What a process has for itself, its share of what it shares included (PSS); elsewhere than on Linux its resident set.
    0 for one that has ended: a mesh in which one does is void anyway."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return resident_kib(pid)


def own_kib(pid: int) -> float:
    """What a process alone has (USS): what it would give back by ending. Elsewhere than on Linux its resident set, which
    a system under pressure takes from it; 0 where it is gone."""
    with suppress(OSError):  # another system, or it has ended: both are said above
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("Private_"))
    return resident_kib(pid)


def resident_kib(pid: int) -> float:
    """What of a process lies in memory (RSS), what it shares with others included; 0 where it is gone."""
    with suppress(psutil.Error):
        return float(psutil.Process(pid).memory_info().rss) / 1024
    return 0.0


def disk_kib(path: Path) -> float:
    """What a file takes of its disk; 0 for one that is gone, as some of a store's are from one moment to the next."""
    with suppress(OSError):
        return path.stat().st_blocks * 512 / 1024
    return 0.0


def busy_seconds() -> float:
    """CPU time of the whole machine, all cores, without what was idle, taken by its host, or the
    kernel's own (of loopback's packets among it: nobody's clock has that)."""
    times = psutil.cpu_times()
    others = [
        getattr(times, name, 0.0)
        for name in ("idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
    ]
    return float(sum(times) - sum(others))


QUIET_CORES = 0.06
"""Others may use so much while it still counts as quiet."""

LOOK_SECONDS = 1.0


async def quiet(seconds: float) -> bool:
    """Returns when others use next to nothing of the machine, at the latest after `seconds`: whether they do. To be asked
    before anything of ours runs."""
    until = time.monotonic() + seconds
    while seconds:
        before = busy_seconds()
        await asyncio.sleep(LOOK_SECONDS)
        if (busy_seconds() - before) / LOOK_SECONDS <= QUIET_CORES:
            return True
        if time.monotonic() > until:
            return False
    return False
