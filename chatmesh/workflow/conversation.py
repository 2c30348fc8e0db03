"""What was said before, for a model: from the request where it brings it along, else from the session itself.

Bounded by turns and by tokens, oldest dropped first. Answers that were stopped or failed count as far as they were shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatmesh.protocol.estimates import tokens_of
from chatmesh.protocol.exchanges import Exchange
from chatmesh.protocol.tokens import Token
from chatmesh.protocol.tool_results import brought
from chatmesh.providers import Message


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a session a model gets: so many messages of its user with their answers, and so many tokens."""

    turns: int
    tokens: int


def brought_along(context: dict[str, Any]) -> tuple[Message, ...] | None:
    """The history that the request brings, as far as it can be read; None where it brings none."""
    history = context.get("conversation_history")
    if not isinstance(history, list):
        return None
    return tuple(entry for entry in history if isinstance(entry, dict) and isinstance(entry.get("role"), str))


def of_session(
    exchanges: Sequence[Exchange], current: Token, context: dict[str, Any], bounds: Bounds
) -> tuple[Message, ...]:
    """What was said before the message `current`, oldest first. Its `context` may bring what tools have answered."""
    before = [exchange for exchange in exchanges if exchange.message_id != current]
    came = [*(result for exchange in before for result in exchange.results), *brought(context)]
    results = {result["tool_call_id"]: result for result in came}
    kept: list[list[Message]] = []
    tokens = 0
    for exchange in reversed(before[-bounds.turns :] if bounds.turns else []):
        said = list(_said(exchange, results))
        tokens += sum(map(_tokens, said))
        if tokens > bounds.tokens:
            break
        kept.append(said)
    return tuple(message for said in reversed(kept) for message in said)


def _said(exchange: Exchange, results: Mapping[str, Message]) -> Iterator[Message]:
    """One who said nothing is left out: models refuse empty messages. So are calls of tools that not all were answered, and
    answers of tools that nobody called: models refuse the one without the other."""
    if isinstance(question := exchange.asked.get("message"), str) and question:
        yield {"role": "user", "content": question}
    answer, calls = exchange.text, exchange.calls
    if calls and all(call["id"] in results for call in calls):
        yield {"role": "assistant", "content": answer or None, "tool_calls": calls}
        yield from ({"role": "tool", **results[call["id"]]} for call in calls)
    elif answer:
        yield {"role": "assistant", "content": answer}


def _tokens(message: Message) -> int:
    parts: Iterable[Any] = (message["content"], message.get("tool_calls"))
    return sum(tokens_of(part if isinstance(part, str) else str(part)) for part in parts if part)
