"""What several routes answer when they can't do what was asked."""

from __future__ import annotations

from chatmesh.web import Problem

ROOM_SECONDS = 30
"""Room comes by an operator, or as old transcripts expire: not in a moment."""


def storage_full(detail: str) -> Problem:
    """The broker has no room, or keeps what it has for the answers that run."""
    return Problem(503, "storage_full", detail, retry_after_seconds=ROOM_SECONDS)
