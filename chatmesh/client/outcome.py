"""What an answer, or none, says of a message that was sent: pure.

The rules are those of `docs/http.md`: 202 (or an inline 200) is durable; 4xx and 503 mean that this try stored nothing;
504, and a connection that was cut after the request had left, leave it open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FIRST_PAUSE_SECONDS = 0.25


class Fate(StrEnum):
    """ACCEPTED: it will be answered. REFUSED: nobody has it. UNKNOWN: it may be answered; repeat it with its id."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message. `answer` is the last body that a pod gave (a problem where it refused), {} where none
    did; `status` 0 where there was no answer."""

    message_id: str
    fate: Fate
    status: int
    tries: int
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def is_duplicate(self) -> bool:
        """It had been accepted before."""
        return self.answer.get("duplicate") is True

    @property
    def reason(self) -> str:
        """For people: the problem's text, or what there is of it."""
        return str(self.answer.get("detail") or self.answer.get("code") or self.status or "no answer")


def fate_of(status: int) -> Fate:
    """What one answer says of its own try."""
    if status in (200, 202):
        return Fate.ACCEPTED
    return Fate.REFUSED if 400 <= status < 500 or status == 503 else Fate.UNKNOWN


def is_worth_repeating(status: int) -> bool:
    """Whether the same may be answered otherwise in a moment, or by another pod."""
    return status in (408, 425, 429) or status >= 500 or status == 0


def together(before: Fate, now: Fate) -> Fate:
    """After several tries with one id: what one of them left open, only an acceptance closes."""
    return Fate.UNKNOWN if Fate.UNKNOWN in (before, now) and now is not Fate.ACCEPTED else now


def pause_seconds(failures: int, *, max_seconds: float, share: float) -> float:
    """Before the next try after so many failures in a row: short at first, since another pod may be there, then doubled
    up to `max_seconds`, and never the same for two clients. `share` is a random number from 0 to 1."""
    doubled: float = FIRST_PAUSE_SECONDS * 2.0 ** min(max(0, failures - 1), 16)
    return min(max_seconds, doubled) * (0.5 + share / 2)
