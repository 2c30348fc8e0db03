"""What several routes answer when they can't do what was asked."""

from __future__ import annotations

from chatmesh.errors import BrokerError, KeyMissingError
from chatmesh.telemetry import get_logger
from chatmesh.web import Problem

log = get_logger("ingress")

RETRY_AFTER_SECONDS = 2

ROOM_SECONDS = 30
"""Room comes by an operator, or as old transcripts expire; a key by an operator: not in a moment."""


def storage_full(detail: str) -> Problem:
    """The broker has no room, or keeps what it has for the answers that run."""
    return Problem(503, "storage_full", detail, retry_after_seconds=ROOM_SECONDS)


def unreadable(error: BrokerError) -> Problem:
    """What is stored can't be read at this moment."""
    if isinstance(error, KeyMissingError):
        return key_missing(error)
    return Problem(
        503,
        "broker_away",
        "The transcript can't be read: NATS is away.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def key_missing(error: KeyMissingError) -> Problem:
    """The session is sealed, and this pod has no key for it."""
    log.error("ingress.key_missing", error=str(error))
    return Problem(
        503, "key_missing", "This pod has no key for the session.", retry_after_seconds=ROOM_SECONDS
    )
