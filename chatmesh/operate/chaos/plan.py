"""Which fault hits whom and when: pure, and the same for the same seed.

A fault has a beginning and an end (a process killed, and started again; frozen, and thawed), and nobody is hit by a
second one before its first has ended. Faults come in bursts with quiet between them, so that what only shows while
several things are broken has its chance, and so has what only shows when all is well again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """Whom, and how: kill is SIGKILL and a new start, term SIGTERM and a new start, stop SIGSTOP and SIGCONT."""

    WORKER_KILL = "worker-kill"
    WORKER_STOP = "worker-stop"
    WORKER_TERM = "worker-term"
    POD_KILL = "pod-kill"
    POD_STOP = "pod-stop"
    POD_TERM = "pod-term"
    BROKER_KILL = "broker-kill"
    BROKER_STOP = "broker-stop"
    READER_CUT = "reader-cut"

    @property
    def role(self) -> str:
        """`worker`, `pod`, `broker` or `reader`."""
        return self.partition("-")[0]

    @property
    def way(self) -> str:
        """`kill`, `stop`, `term` or `cut`."""
        return self.partition("-")[2]


@dataclass(frozen=True, slots=True)
class Step:
    """At `at_seconds` after the beginning `fault` hits the process number `target` of its role, for `seconds`: dead or
    frozen so long. Of readers a share is cut, and `target` is the seed of which."""

    at_seconds: float
    fault: Fault
    target: int
    seconds: float

    @property
    def end_seconds(self) -> float:
        return self.at_seconds + self.seconds


@dataclass(frozen=True, slots=True)
class Size:
    """How many processes of each role there are."""

    pods: int
    workers: int
    servers: int

    def of(self, role: str) -> int:
        return {"pod": self.pods, "worker": self.workers, "broker": self.servers}.get(role, 1)


WARM_UP_SECONDS = 1.0
QUIET_SECONDS = (2.0, 4.0)
BURST_STEPS = (2, 5)
GAP_SECONDS = (0.2, 1.5)
AWAY_SECONDS = (0.1, 1.5)
"""Between a process's death and its next start."""

FROZEN_SECONDS = (0.5, 3.0)
"""Of a frozen worker: so long beyond the time after which its answers are another's."""

FROZEN_LIKE_THE_NETWORK_SECONDS = (1.0, 5.0)
"""Of a frozen pod or broker."""


def schedule(
    seed: int, faults: Sequence[Fault], size: Size, *, seconds: float, ack_wait_seconds: float
) -> list[Step]:
    """The steps of a run of so many seconds, in the order of their beginnings. Every fault that was asked for comes
    before any comes twice, as far as the time allows."""
    random = Random(seed)  # noqa: S311 - to be repeatable is what it is for
    steps: list[Step] = []
    hand: list[Fault] = []
    at = WARM_UP_SECONDS
    while faults and at < seconds:
        for _ in range(random.randint(*BURST_STEPS)):
            if not hand:
                hand = random.sample(list(faults), len(faults))
            step = _step(random, hand.pop(), size, at, ack_wait_seconds)
            if at < seconds and not _overlaps(steps, step):
                steps.append(step)
            else:
                hand.insert(0, step.fault)  # it has not come yet
            at += random.uniform(*GAP_SECONDS)
        at = max([at, *(step.end_seconds for step in steps)]) + random.uniform(*QUIET_SECONDS)
    return steps


def zombies(size: Size, *, seconds: float, ack_wait_seconds: float) -> list[Step]:
    """One worker after the other is frozen in the middle of its answers until others have taken them over: what a mesh
    without a fence does not survive."""
    frozen_seconds = ack_wait_seconds + 2.0
    pace_seconds = frozen_seconds + 1.0
    count = max(1, int((seconds - 2 * WARM_UP_SECONDS) / pace_seconds))
    return [
        Step(
            2 * WARM_UP_SECONDS + number * pace_seconds,
            Fault.WORKER_STOP,
            number % size.workers,
            frozen_seconds,
        )
        for number in range(count)
    ]


def _step(random: Random, fault: Fault, size: Size, at: float, ack_wait_seconds: float) -> Step:
    if fault is Fault.READER_CUT:
        return Step(at, fault, random.getrandbits(32), 0.0)
    seconds = random.uniform(*AWAY_SECONDS)
    if fault is Fault.WORKER_STOP:
        seconds = ack_wait_seconds + random.uniform(*FROZEN_SECONDS)
    elif fault.way == "stop":
        seconds = random.uniform(*FROZEN_LIKE_THE_NETWORK_SECONDS)
    return Step(at, fault, random.randrange(size.of(fault.role)), seconds)


def _overlaps(steps: Sequence[Step], step: Step) -> bool:
    """Whether its target is still away. A process that was killed or told to leave also needs a while to be up again;
    who is hit while starting is worth a test too, so that is not counted."""
    return any(
        earlier.fault.role == step.fault.role
        and step.fault.role != "reader"
        and earlier.target == step.target
        and earlier.end_seconds >= step.at_seconds
        for earlier in steps
    )
