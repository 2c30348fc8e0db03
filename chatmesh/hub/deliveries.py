"""What a trace says of an answer at a pod: from its first live batch to its end, once for each message: pure."""

from __future__ import annotations

from chatmesh.protocol import trace
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry.tracing import NO_TRACING, Span, Tracing

MOST = 4096
"""Answers under way; of what is beyond, the oldest is not told of. Some never end here: their readers have left."""


class Deliveries:
    """State of the hub."""

    def __init__(self, tracing: Tracing = NO_TRACING) -> None:
        self._tracing = tracing
        self._spans: dict[tuple[Token, Token], Span] = {}

    def begin(self, record: Record, traceparent: str) -> None:
        """A batch has come that readers here have not got yet."""
        if not self._tracing.is_on or not trace.is_sampled(traceparent):
            return
        key = record.session_id, record.message_id
        if key in self._spans:
            return
        if len(self._spans) >= MOST:
            del self._spans[next(iter(self._spans))]
        about = {"session_id": record.session_id, "message_id": record.message_id}
        self._spans[key] = self._tracing.begin("delivered", traceparent, about)

    def end(self, record: Record, readers: int) -> None:
        """Its last record was shown to so many `readers`."""
        span = self._spans.pop((record.session_id, record.message_id), None)
        if span is not None:
            span.note(readers=readers)
            span.end()
