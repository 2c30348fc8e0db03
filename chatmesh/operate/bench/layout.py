"""Who may run on which core, how many files may be open, and whether the disk has room."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatmesh.errors import ChatmeshError

SPARE_FILES = 200
"""Of a process with many connections: what else it has open."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The servers' cores and the client's; None: the system decides."""

    servers: frozenset[int] | None = None
    client: frozenset[int] | None = None

    @property
    def name(self) -> str:
        """`pinned` or `free`."""
        return "free" if self.servers is None else "pinned"


def layout(wanted: str) -> Layout:
    """`pinned`: every server process on one core and the client on another, so that tokens a second are those of one core.
    Where the system can't do it, or has one core only, all are free."""
    if wanted == "free" or not hasattr(os, "sched_setaffinity"):
        return Layout()
    cores = sorted(os.sched_getaffinity(0))
    return Layout(frozenset(cores[:1]), frozenset(cores[-1:])) if len(cores) > 1 else Layout()


@contextmanager
def on(cores: frozenset[int] | None) -> Iterator[None]:
    """Children that are begun within run on these cores."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_files(count: int) -> None:
    """Raises the soft limit of open files for us and our children; ChatmeshError where the hard one is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ChatmeshError(
            f"{count} connections need {wanted} open files in one process, and {hard} are allowed",
            mend=f"Raise the limit (`ulimit -Hn {wanted}` as root, or in limits.conf), or leave out the scenarios `idle` and `many`.",
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def require_disk(folder: Path, needed: int) -> None:
    """Raises ChatmeshError where the folder's disk has fewer bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ChatmeshError(
            f"the store will take up to {_gib(needed)} GiB, and {_gib(free)} are free",
            where=str(folder),
            mend="Make room, name a folder on another disk (`--keep`, or TMPDIR), or leave out the scenario `deep`.",
        )


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f}"
