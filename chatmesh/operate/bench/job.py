"""What the benchmark's client is to do, and what it comes back with: JSON between two processes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from chatmesh.operate.bench.load.checked import Tally

FILLED_BYTES = 1000
"""What a message of others takes on disk, at most."""


@dataclass(frozen=True, slots=True)
class Load:
    """What people do. `tokens`: chunks of an answer, the final one included. `rate`: tokens a second of each answer, 0 is
    unlimited. `readers`: of each session. `steps`: sizes that are reached one after the other. `seconds`: for how long it
    goes on, where it has no end of its own. `patience_seconds`: then the client gives up, and what is missing is missing."""

    kind: str
    sessions: int = 1
    tokens: int = 2
    rate: float = 0.0
    readers: int = 1
    stagger_seconds: float = 0.0
    steps: tuple[int, ...] = ()
    seconds: float = 0.0
    patience_seconds: float = 120.0

    @property
    def connections(self) -> int:
        """That the client has open at once, at most."""
        if self.kind in ("long", "crowd", "deep"):
            return 1
        return max(self.steps, default=self.sessions * (self.readers + 1))

    @property
    def disk_bytes(self) -> int:
        """That the broker's store grows to, where that is much; else 0."""
        return max(self.steps) * FILLED_BYTES if self.kind == "deep" else 0


@dataclass(frozen=True, slots=True)
class Job:
    """A load, the pods' ports, what the names of its sessions begin with, and the broker's URL."""

    load: Load
    ports: tuple[int, ...]
    name: str
    broker: str = ""

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Job:
        """From what `wire` gave; raises TypeError or KeyError for anything else."""
        load = dict(body["load"])
        load["steps"] = tuple(load["steps"])
        return cls(Load(**load), tuple(body["ports"]), body["name"], body["broker"])


@dataclass(slots=True)
class Outcome:
    """What the client saw. `figures` by their keys; `curves`: 101 quantiles each, from the least to the most."""

    tally: Tally = field(default_factory=Tally)
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Outcome:
        return cls(**{**body, "tally": Tally(**body["tally"])})
