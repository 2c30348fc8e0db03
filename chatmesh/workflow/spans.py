"""What a trace says of a message at a worker: how long it was queued, and each attempt at it.

A worker that is killed tells nobody, and one that was frozen does not know. So an attempt's span has an id that follows from
its claim, and whoever makes the next attempt tells of one that came to no end, up to that moment: each is told of once.
"""

from __future__ import annotations

import time

from chatmesh.broker import HeldClaim
from chatmesh.protocol import trace
from chatmesh.protocol.timestamps import unix_time
from chatmesh.telemetry.tracing import Kind, Span, Tracing, Value
from chatmesh.workflow.claims import Claimed
from chatmesh.workflow.task import Task
from chatmesh.workflow.writing import Writing


def begin_attempt(tracing: Tracing, task: Task, claimed: Claimed) -> Span:
    """The span of the attempt that begins now; those of what lies behind it are told."""
    if not tracing.is_on:
        return Span(task.traceparent)
    ids: dict[str, Value] = {"session_id": task.request.session_id, "message_id": task.request.message_id}
    now = time.time()
    if not claimed.held.claim.first:
        stored_at = task.delivery.stored_at
        tracing.begin("queued", task.traceparent, ids, Kind.CONSUMER, at=stored_at).end(now)
    if (lost := claimed.lost) is not None:
        span = _attempt(tracing, task, lost, unix_time(lost.claim.timestamp) or now, ids)
        span.note(outcome="lost")
        span.fail("lost")
        span.end(now)
    span = _attempt(tracing, task, claimed.held, now, ids)
    span.note(deliveries=task.delivery.deliveries)
    return span


def end_attempt(writing: Writing, outcome: str) -> None:
    """`done`: its final is stored. `handed_over`: another worker goes on."""
    span = writing.span
    if writing.pace.first_at is not None:
        span.event("first_token", writing.pace.first_at)
    span.note(outcome=outcome)
    span.end()


def _attempt(tracing: Tracing, task: Task, held: HeldClaim, at: float, ids: dict[str, Value]) -> Span:
    id = trace.span_id_of(task.traceparent, str(held.token))
    claim = held.claim
    about: dict[str, Value] = {**ids, "attempt": claim.attempt, "worker_id": claim.worker_id}
    return tracing.begin("attempt", task.traceparent, about, id=id, at=at)
