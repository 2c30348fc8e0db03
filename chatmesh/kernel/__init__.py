"""The actor system: children in, a supervised tree out. One process, one event loop, the standard library only.

A `Service` runs until it is drained. An `Actor` is a service that others feed through a bounded `Mailbox`. A
`Supervisor` is a service that keeps its children running, so supervisors nest. `run_root` makes a tree of them a
process. Stopping is the same everywhere: drain, deadline, cancel.

It knows no chat and no NATS, does not log (see `KernelEvent`), and does not reach beyond the process.
"""

from __future__ import annotations

from chatmesh.kernel.actor import Actor
from chatmesh.kernel.clock import Clock, ManualClock, SystemClock
from chatmesh.kernel.events import EventKind, KernelEvent, Observe
from chatmesh.kernel.failures import (
    ChildCancelled,
    ChildReturned,
    DrainInterrupted,
    MailboxClosed,
    MailboxFull,
    RestartIntensityExceeded,
    StartFailed,
    SupervisionFailed,
    Unrepairable,
    Unrepaired,
    real_cause,
)
from chatmesh.kernel.mailbox import Mailbox
from chatmesh.kernel.place import ChildState, State
from chatmesh.kernel.restarts import Backoff, Intensity
from chatmesh.kernel.root import run_root
from chatmesh.kernel.service import Child, Service
from chatmesh.kernel.supervisor import Supervisor

__all__ = [
    "Actor",
    "Backoff",
    "Child",
    "ChildCancelled",
    "ChildReturned",
    "ChildState",
    "Clock",
    "DrainInterrupted",
    "EventKind",
    "Intensity",
    "KernelEvent",
    "Mailbox",
    "MailboxClosed",
    "MailboxFull",
    "ManualClock",
    "Observe",
    "RestartIntensityExceeded",
    "Service",
    "StartFailed",
    "State",
    "SupervisionFailed",
    "Supervisor",
    "SystemClock",
    "Unrepairable",
    "Unrepaired",
    "real_cause",
    "run_root",
]
