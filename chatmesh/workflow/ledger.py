"""Counts what the models were asked and what they said, call by call, for one message: pure.

In: each delta as it comes, and whether readers got it. Out: the `Spend` for the final chunk. What a worker that is gone
had generated is known as far as it was stored, and belongs to the message all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chatmesh.protocol.estimates import CHARACTERS_PER_TOKEN
from chatmesh.protocol.records import Record
from chatmesh.protocol.spend import Call, Price, Spend
from chatmesh.providers import Usage

LOST = "lost"
HANDED_OVER = "handed_over"
FAILED_OVER = "failed_over"


@dataclass(frozen=True, slots=True)
class Written:
    """What one model has said under one claim, as the transcript has it: in `pieces`, of which `standing` were not taken
    back."""

    attempt: int
    token: int
    model: str
    pieces: int
    standing: int


def written(records: Iterable[Record]) -> tuple[Written, ...]:
    """From the records of one message, oldest first: each model under each claim, in the order in which they spoke."""
    pieces: dict[tuple[int, int, str], list[bool]] = {}
    for record in records:
        if record.reset is not None:
            for stands in pieces.values():
                stands[:] = [False] * len(stands)
        for chunk in record.chunks:
            metadata = chunk.get("metadata")
            if isinstance(metadata, dict) and chunk.get("chunk_type") in ("content", "metadata"):
                model = str(metadata.get("model", ""))
                stands = pieces.setdefault((record.attempt, record.token, model), [])
                stands += [] if chunk.get("is_final") else [True]
    return tuple(Written(*who, len(stands), sum(stands)) for who, stands in pieces.items())


@dataclass(slots=True)
class _Entry:
    """A call. Its pieces are the deltas that said something."""

    model: str
    attempt: int
    resumed_tokens: int = 0
    pieces: int = 0
    standing: int = 0
    usage: Usage | None = None
    end: str = ""
    has_ended_itself: bool = False


class Ledger:
    """Of one message, kept by the worker that has it now. `written` is what earlier ones have stored, oldest first.
    `prompt_tokens`: about how many the conversation has, for calls whose provider does not say."""

    def __init__(
        self,
        attempt: int,
        written: Sequence[Written] = (),
        *,
        user_id: str = "",
        price: Callable[[str], Price | None] = lambda _model: None,
    ) -> None:
        self.prompt_tokens = 0
        self._attempt = attempt
        self._user_id = user_id
        self._price = price
        self._entries = _earlier(attempt, written)
        self._is_open = False

    def begin(self, model: str, shown_characters: int) -> None:
        """A model is asked, to go on behind so much text."""
        self._entries.append(_Entry(model, self._attempt, shown_characters // CHARACTERS_PER_TOKEN))
        self._is_open = True

    def count(self, pieces: int, *, shown: int) -> None:
        """It said something; a repetition that is trimmed is not shown."""
        entry = self._entries[-1]
        entry.pieces += pieces
        entry.standing += shown

    def learn(self, usage: Usage) -> None:
        """Its provider has counted: all of the call, or so far."""
        self._entries[-1].usage = usage

    def take_back(self) -> None:
        """What was shown until now does not stand any more."""
        for entry in self._entries:
            entry.standing = 0

    def end(self, reason: str, *, by_itself: bool = False) -> None:
        """The call has ended. `by_itself`: it came to its own end, so that its usage is that of all of it."""
        if self._is_open:
            entry = self._entries[-1]
            entry.end, entry.has_ended_itself = reason, by_itself
            self._is_open = False

    @property
    def usage(self) -> Usage | None:
        """As the last call's provider counted it, if that has come to its end."""
        last = self._entries[-1] if self._entries else None
        return last.usage if last is not None and last.has_ended_itself else None

    @property
    def spend(self) -> Spend:
        """Every call until now."""
        return Spend(self._user_id, tuple(self._call(entry) for entry in self._entries))

    def _call(self, entry: _Entry) -> Call:
        usage = entry.usage
        prompt = usage.prompt_tokens if usage is not None else 0
        prompt = prompt or self.prompt_tokens + entry.resumed_tokens
        # One that was cut off has counted less than it said.
        said = usage.completion_tokens if usage is not None else 0
        generated = said if usage is not None and entry.has_ended_itself else max(said, entry.pieces)
        # Pieces are not tokens everywhere; what stands of them is as large a part of the tokens.
        delivered = round(generated * entry.standing / entry.pieces) if entry.pieces else 0
        if not entry.pieces and entry.has_ended_itself:
            # Thoughts that are counted and not shown.
            delivered = generated
        price = self._price(entry.model)
        return Call(
            model=entry.model,
            attempt=entry.attempt,
            end=entry.end,
            prompt_tokens=prompt,
            generated_tokens=generated,
            delivered_tokens=delivered,
            is_counted=usage is None or not entry.has_ended_itself,
            cost=price.cost(prompt, generated) if price is not None else None,
        )


def _earlier(attempt: int, written: Sequence[Written]) -> list[_Entry]:
    """The calls of those who had the message before. Whoever was followed by the same attempt had handed it over. One who
    died before anything was stored leaves no call: nobody knows whether it had asked."""
    entries: list[_Entry] = []
    for at, call in enumerate(written):
        after = written[at + 1] if at + 1 < len(written) else None
        is_same_claim = after is not None and after.token == call.token
        next_attempt = attempt if after is None else after.attempt
        # In one claim a model is followed by another one where it has failed.
        end = FAILED_OVER if is_same_claim else HANDED_OVER if next_attempt == call.attempt else LOST
        entries.append(_Entry(call.model, call.attempt, pieces=call.pieces, standing=call.standing, end=end))
    return entries
