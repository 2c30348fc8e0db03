"""What messages took, added up: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chatmesh.protocol.spend import COST_DIGITS, Call, Spend


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that has ended. `ended_at` in UTC: `2026-11-26T01:02:03.004Z`."""

    session_id: str
    message_id: str
    ended_at: str
    finish_reason: str
    spend: Spend


@dataclass(slots=True)
class Line:
    """Of one model, user, session, message or day. `counted`: so many of the calls were counted here, since the provider
    did not. `cost` is None as long as no call had a price."""

    key: str
    messages: int = 0
    calls: int = 0
    counted: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    delivered_tokens: int = 0
    cost: float | None = None
    _last: str = field(default="", repr=False)

    def add(self, entry: Entry, call: Call | None) -> None:
        """A call of that message; None for a message that no model was asked."""
        name = f"{entry.session_id}/{entry.message_id}"
        self.messages += name != self._last
        self._last = name
        if call is None:
            return
        self.calls += 1
        self.counted += call.is_counted
        self.prompt_tokens += call.prompt_tokens
        self.generated_tokens += call.generated_tokens
        self.delivered_tokens += call.delivered_tokens
        if call.cost is not None:
            self.cost = round((self.cost or 0.0) + call.cost, COST_DIGITS)

    def wire(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "messages": self.messages,
            "calls": self.calls,
            "calls_counted_here": self.counted,
            "prompt_tokens": self.prompt_tokens,
            "generated_tokens": self.generated_tokens,
            "delivered_tokens": self.delivered_tokens,
            "discarded_tokens": self.generated_tokens - self.delivered_tokens,
            "cost": self.cost,
        }


KEYS: dict[str, Callable[[Entry, Call | None], str]] = {
    "model": lambda _entry, call: call.model if call is not None else "(none)",
    "user": lambda entry, _call: entry.spend.user_id or "(none)",
    "session": lambda entry, _call: entry.session_id,
    "message": lambda entry, _call: f"{entry.session_id}/{entry.message_id}",
    "attempt": lambda entry, call: (
        f"{entry.session_id}/{entry.message_id}#{call.attempt if call is not None else 0}"
    ),
    "day": lambda entry, _call: entry.ended_at.partition("T")[0],
    "end": lambda entry, call: call.end if call is not None else entry.finish_reason,
}
"""By what can be added up."""


class Bill:
    """Takes entries one by one and keeps the sums only."""

    def __init__(self, by: str) -> None:
        self._key = KEYS[by]
        self._lines: dict[str, Line] = {}
        self.total = Line("total")

    def add(self, entry: Entry) -> None:
        calls: Iterable[Call | None] = entry.spend.calls or (None,)
        for call in calls:
            key = self._key(entry, call)
            self._lines.setdefault(key, Line(key)).add(entry, call)
            self.total.add(entry, call)

    @property
    def lines(self) -> list[Line]:
        """In the order of their names."""
        return [self._lines[key] for key in sorted(self._lines)]
