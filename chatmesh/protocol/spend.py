"""What an answer took, in tokens: of each call of a model, and in all. The final chunk's metadata has it as `spend`.

*Generated* is what a model said. *Delivered* is the part of it that stands in the answer, *discarded* the rest: what was
taken back by a reset, what a continuation repeated and was trimmed, and what came behind a stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TOKENS_PER_PRICE = 1_000_000
COST_DIGITS = 9
"""Behind the point: a thousandth of the price of one token at a unit for a million."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in whatever currency the configuration has in mind."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, generated_tokens: int) -> float:
        cost = (prompt_tokens * self.input + generated_tokens * self.output) / TOKENS_PER_PRICE
        return round(cost, COST_DIGITS)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model. `end` is its finish reason, the code of its failure, `handed_over`, or `lost` with the worker
    that made it. `is_counted`: its provider did not say how many tokens it took, so that they were counted here, the
    prompt's by its length. `cost` is None for a model without a price."""

    model: str
    attempt: int
    end: str
    prompt_tokens: int
    generated_tokens: int
    delivered_tokens: int
    is_counted: bool = True
    cost: float | None = None

    def wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "attempt": self.attempt,
            "end": self.end,
            "prompt_tokens": self.prompt_tokens,
            "generated_tokens": self.generated_tokens,
            "delivered_tokens": self.delivered_tokens,
            "discarded_tokens": self.generated_tokens - self.delivered_tokens,
            "counted": self.is_counted,
        }
        return body if self.cost is None else body | {"cost": self.cost}

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Call:
        """From what is stored. A field that lacks counts as nothing: books go on without it."""
        cost = body.get("cost")
        return cls(
            model=_text(body, "model"),
            attempt=_count(body, "attempt"),
            end=_text(body, "end"),
            prompt_tokens=_count(body, "prompt_tokens"),
            generated_tokens=_count(body, "generated_tokens"),
            delivered_tokens=_count(body, "delivered_tokens"),
            is_counted=body.get("counted") is not False,
            cost=float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None,
        )


@dataclass(frozen=True, slots=True)
class Spend:
    """Of one message: every call that was made for it, in order, and who asked."""

    user_id: str = ""
    calls: Sequence[Call] = field(default=())

    def wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "user_id": self.user_id,
            "prompt_tokens": sum(call.prompt_tokens for call in self.calls),
            "generated_tokens": sum(call.generated_tokens for call in self.calls),
            "delivered_tokens": sum(call.delivered_tokens for call in self.calls),
        }
        body["discarded_tokens"] = body["generated_tokens"] - body["delivered_tokens"]
        costs = [call.cost for call in self.calls if call.cost is not None]
        if costs:
            body["cost"] = round(sum(costs), COST_DIGITS)
        return body | {"calls": [call.wire() for call in self.calls]}

    @classmethod
    def parse(cls, body: Any) -> Spend:
        """From a final chunk's metadata. What is none is an empty one."""
        if not isinstance(body, dict):
            return cls()
        calls = body.get("calls")
        found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        return cls(_text(body, "user_id"), tuple(Call.parse(call) for call in found))


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
