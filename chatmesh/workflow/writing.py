"""One answer as it is written: the lane that it goes into, the encoder of its chunks, and the ledger of what it took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.telemetry.tracing import UNRECORDED, Span
from chatmesh.workflow.ledger import Ledger
from chatmesh.workflow.pace import Pace
from chatmesh.workflow.ports import LanePort


@dataclass(frozen=True, slots=True)
class Writing:
    """Of one claim, and so is `span`. Exactly one of `end` and `fail` is called, or neither where another worker goes on."""

    lane: LanePort
    encoder: ChunkEncoder
    ledger: Ledger
    pace: Pace = field(default_factory=Pace)
    span: Span = UNRECORDED

    def end(self, finish_reason: str, *, by_itself: bool = False) -> None:
        """`by_itself`: the model came to its end, so what its provider has counted is all of it."""
        self.lane.settle()
        self.ledger.end(finish_reason, by_itself=by_itself)
        self.span.note(finish_reason=finish_reason)
        if (usage := self.ledger.usage) is not None:
            self.encoder.note(usage=usage.wire())
        self.lane.write_final(self.encoder.final(finish_reason, time.time(), self.ledger.spend))

    def fail(self, code: str, message: str) -> None:
        """`message` is for people: no stack trace, no secret."""
        self.lane.settle()
        self.ledger.end(code)
        self.span.note(finish_reason="error")
        self.span.fail(code)
        self.lane.write_final(self.encoder.failure(code, message, time.time(), self.ledger.spend))
