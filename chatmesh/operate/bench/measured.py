"""What one run of one scenario gave. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from chatmesh.operate.bench.job import Outcome

MOST_CLIENT_SHARE = 0.8
"""Of one core: a client that needs more may be what limits the run."""

RESIDENT = ", resident"
"""Behind a role's name in a sample: what of it lies in memory, with what it shares."""

BLOCKS = ", blocks"
"""The same: how many blocks its heap has given out."""


@dataclass(slots=True)
class Run:
    """`side` is `floor` or `mesh`. `cpu`: seconds by role while measured. `memory`: KiB by role at the end.
    `samples`: memory in KiB by role while it went on, where that was watched; `spreads`: least and most of a figure within
    this run. `strangers`: cores that everybody else used meanwhile. `failure`: why there is no result."""

    round: int
    scenario: str
    side: str
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)
    spreads: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    chunks: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    client_share: float = 0.0
    strangers: float = 0.0
    wall_seconds: float = 0.0
    failure: str = ""

    @property
    def is_result(self) -> bool:
        """Nothing was lost, repeated or out of order."""
        return not self.faults and not self.failure

    @property
    def is_client_bound(self) -> bool:
        return self.client_share > MOST_CLIENT_SHARE

    def take(self, outcome: Outcome) -> None:
        """What the client saw."""
        self.figures |= outcome.figures
        self.curves |= outcome.curves
        self.chunks = outcome.tally.received
        self.faults = outcome.tally.faults
        self.wall_seconds = outcome.wall_seconds
        if outcome.wall_seconds > 0:
            self.client_share = outcome.cpu_seconds / outcome.wall_seconds
        if self.chunks and self.cpu:
            self.figures["cpu"] = sum(self.cpu.values()) / self.chunks * 1e6

    def wire(self) -> dict[str, Any]:
        return {**asdict(self), "is_result": self.is_result}

    def spent(self, before: dict[str, float], after: dict[str, float]) -> None:
        """CPU clocks at the beginning and at the end. Of a process that was killed meanwhile nothing is known."""
        self.cpu = {role: max(0.0, after[role] - before.get(role, 0.0)) for role in after}
