"""What was said in a session, from its history: pure.

In: rows of `GET …/messages`. Out: turns, the newest last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Turn:
    """A message and what came of it. `status` as the history says it: queued, running, done, stopped, failed."""

    message_id: str
    message: str = ""
    answer: str = ""
    status: str = ""
    reason: str = ""
    """Why it failed."""

    @property
    def is_over(self) -> bool:
        return self.status not in ("queued", "running")


def turns(rows: Iterable[dict[str, Any]]) -> list[Turn]:
    """Of all rows, oldest first, as they come."""
    found: dict[str, Turn] = {}
    for row in rows:
        message_id = str(row.get("message_id"))
        turn = found.setdefault(message_id, Turn(message_id))
        turn.status = str(row.get("status", ""))
        if row.get("role") == "user":
            turn.message = str(row.get("content", ""))
        else:
            turn.answer = str(row.get("content", ""))
            error = row.get("error")
            turn.reason = str(error.get("message", "")) if isinstance(error, dict) else ""
    return list(found.values())
