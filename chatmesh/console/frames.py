"""A look at the mesh as JSON, without what anybody said. Pure.

In: what `operate` has read. Out: plain values. Who was silent for too long is left out: it stays in the picture for a while, grey,
and then leaves.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from chatmesh.operate.checks import MISSED_BEATS
from chatmesh.operate.letters import Letter, Retried
from chatmesh.operate.members import Member, Members, State
from chatmesh.operate.overview import Frame
from chatmesh.operate.queue import Queue, Unanswered
from chatmesh.operate.sessions import Session, Sessions
from chatmesh.protocol.timestamps import unix_time

LATE_BEATS = 2
"""Heartbeats missed, and it is grey. Taken for dead it is after MISSED_BEATS."""

SHOWN_BEATS = 3 * MISSED_BEATS
"""And then it leaves the picture."""

GONE_BEATS = 2
"""Who said goodbye leaves sooner."""

REQUESTS_SHOWN = 50


def members(found: Members, interval_seconds: float) -> list[dict[str, Any]]:
    """Who is there, and who was until lately."""
    return [_member(each, interval_seconds) for each in found.members if is_shown(each, interval_seconds)]


def is_shown(member: Member, interval_seconds: float) -> bool:
    beats = GONE_BEATS if member.state is State.GONE else SHOWN_BEATS
    return member.state is State.ALIVE or member.age_seconds <= beats * interval_seconds


def state(member: Member, interval_seconds: float) -> str:
    """`alive`, `late`, `silent` or `gone`."""
    is_late = member.age_seconds > LATE_BEATS * interval_seconds
    return "late" if member.state is State.ALIVE and is_late else str(member.state)


def broker_now(found: Frame) -> int:
    """In milliseconds since the Unix epoch, by the broker's clock as all times of messages; by ours where nobody was heard."""
    heard = (unix_time(each.heard_at) + each.age_seconds for each in found.members.members)
    return round(1000 * max(heard, default=unix_time(found.at)))


def queue(found: Queue) -> dict[str, Any]:
    counts = found.consumer
    return {
        "unanswered": found.unanswered,
        "dead_letters": found.dead_letters,
        "untaken": None if counts is None else counts.pending,
        "redelivered": None if counts is None else counts.redelivered,
        "requests": [_request(each) for each in found.requests],
        "streams": [
            {"stream": fill.stream, "messages": fill.messages, "bytes": fill.bytes, "ratio": fill.ratio}
            for fill in found.streams
        ],
    }


def frame(
    found: Frame,
    *,
    pod_id: str,
    interval_seconds: float,
    batches_per_second: float | None,
    tiles: list[dict[str, Any]],
    readers: dict[str, Any],
    messages: list[dict[str, object]],
) -> dict[str, Any]:
    """All that the page shows without being asked for more."""
    return {
        "at": found.at,
        "now": broker_now(found),
        "server": found.server,
        "pod_id": pod_id,
        "interval_seconds": interval_seconds,
        "members": members(found.members, interval_seconds),
        "rates": None if found.rates is None else asdict(found.rates),
        "batches_per_second": batches_per_second,
        "queue": queue(found.queue),
        "tiles": tiles,
        "readers": readers,
        "messages": messages,
    }


def letter(found: Letter) -> dict[str, Any]:
    """All but what a user wrote."""
    return {
        "letter_id": str(found.seq),
        "time": found.time,
        "session_id": found.session,
        "message_id": None if found.request is None else found.request.message_id,
        "bytes": len(found.body),
        "reason": found.reason,
    }


def retried(found: Retried) -> dict[str, Any]:
    return {
        "letter_id": str(found.letter.seq),
        "session_id": found.letter.session,
        "message_id": found.message_id,
        "retry_of": found.retry_of,
        "duplicate": found.is_duplicate,
    }


def sessions(found: Sessions) -> dict[str, Any]:
    return {
        "sessions": [_session(each) for each in found.sessions],
        "next": found.following,
        "has_more_busy": found.has_more_busy,
    }


def _member(member: Member, interval_seconds: float) -> dict[str, Any]:
    beat = member.heartbeat
    return {
        "role": beat.role,
        "id": beat.id,
        "state": state(member, interval_seconds),
        "status": beat.status,
        "age_seconds": round(member.age_seconds, 2),
        "load": beat.active_connections if beat.role == "pod" else beat.active_generations,
        "subscriptions": beat.subscriptions,
        "memory_mb": round(beat.memory_usage_mb, 1),
        "cpu_percent": round(beat.cpu_usage_percent, 1),
        "models": list(beat.models),
    }


def _request(each: Unanswered) -> dict[str, Any]:
    return {
        "seq": each.seq,
        "session_id": each.session_id,
        "message_id": each.message_id,
        "stage": each.stage,
        "age_seconds": round(each.age_seconds, 1),
        "bytes": each.size_bytes,
        "erases": each.erases,
        "worker_id": each.worker_id,
        "attempt": each.attempt,
        "deliveries": each.deliveries,
    }


def _session(each: Session) -> dict[str, Any]:
    claim = None if each.held is None else each.held.claim
    return {
        "session_id": each.session_id,
        "state": each.activity,
        "unanswered": each.unanswered,
        "message_id": None if claim is None else claim.message_id,
        "worker_id": None if claim is None else claim.worker_id,
        "attempt": None if claim is None else claim.attempt,
        "claimed_at": None if claim is None else claim.timestamp,
        "pods": list(each.pods),
    }
