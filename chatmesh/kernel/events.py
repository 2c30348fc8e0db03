"""What happens in the tree, as values. The kernel never logs: it hands each event to one `observe` function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What happened. Each says which fields of the event are set beside `path`."""

    STARTED = "started"
    """The child called `started()`."""
    CRASHED = "crashed"
    """The child raised, returned unasked, could not be made, or raised in its `drain()`: `error`."""
    RESTARTING = "restarting"
    """A crashed child will be made anew: `error` is the crash, `backoff_seconds` the wait before."""
    CANCELLED = "cancelled"
    """The child did not finish its drain before its deadline and was cancelled."""
    FAILED_WHILE_CANCELLED = "failed_while_cancelled"
    """The child answered a cancel with another exception: `error`. Nothing else comes of it."""
    STOPPED = "stopped"
    """The child is at rest and does not come back. The last event of each child that was ever begun."""
    GAVE_UP = "gave_up"
    """The supervisor at `path` stops its children and raises `error`."""
    SIGNAL = "signal"
    """The process got `signal_name`; `path` is the root."""


@dataclass(frozen=True, slots=True)
class KernelEvent:
    """One thing that happened at one place of the tree. `path` joins names with slashes: "root/worker/puller"."""

    kind: EventKind
    path: str
    error: BaseException | None = None
    backoff_seconds: float | None = None
    signal_name: str | None = None


Observe = Callable[[KernelEvent], None]


def tell(observe: Observe, event: KernelEvent) -> None:
    """Hand `event` to `observe`. If that raises, the loop's exception handler hears it and the tree goes on."""
    try:
        observe(event)
    except Exception as error:  # noqa: BLE001 - whatever a watcher does wrong must not kill what it watches
        context = {"message": f"observer failed on {event.kind} of {event.path}", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
