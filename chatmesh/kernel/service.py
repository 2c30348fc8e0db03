"""What runs in the tree: a service, and the child that tells a supervisor how to make and keep one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass


class Service(ABC):
    """Something that is up for a while. One instance runs once; a restart makes a fresh one.

    `path` is its place in the tree, like "root/worker/puller". The supervisor writes it before it calls `run`.
    """

    path: str = ""

    @abstractmethod
    async def run(self, started: Callable[[], None]) -> None:
        """Do the work. Call `started()` once when up, return when done, raise when crashed.

        A cancel means: end now, give back what is held, wait for nothing that may not come.
        """

    @abstractmethod
    def drain(self) -> None:
        """Ask `run` to finish what it has begun and return. Never waits, never raises.

        May come at any moment and any number of times: before `run`, while starting, and after the end, where it
        tells whoever still holds a reference that nobody is there.
        """


@dataclass(frozen=True, slots=True)
class Child:
    """A place for a service below a supervisor.

    `make` builds a fresh service for each start, and must not wait. What it shares between starts (a mailbox, say)
    belongs to the place and outlives the service.

    `restart=True` is for what has to be there as long as its supervisor is: ending unasked is a crash, even by
    returning, since a part of the process that everybody counts on would silently be missing. `restart=False` is for
    what is done some day: it may return, before `started()` too, and a crash after `started()` is observed and not
    repaired.

    `drain_seconds` is what it gets to finish before it is cancelled. Children stop one after the other, so a nested
    supervisor needs the sum of what its own children get.
    """

    name: str
    make: Callable[[], Service]
    restart: bool = True
    drain_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"a child's name is one step of a path without a slash, got {self.name!r}")
        if not self.drain_seconds >= 0:  # so that NaN is refused too
            raise ValueError(f"{self.name}: expected drain_seconds of 0 or more, got {self.drain_seconds}")
