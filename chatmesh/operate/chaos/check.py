"""What one reader may see of one session, checked as it comes: pure, and small however long the session is.

In: chunks with their positions, resets, and what became of each message that was sent. Out: findings. What `count` says
is known beforehand, chunk by chunk: chunk n is the number n + 1, and behind the last one an empty final chunk follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chatmesh.client import Fate

MAX_FINDINGS = 200
"""Of one session: a run that is broken altogether shows in fewer."""


class Kind(StrEnum):
    """What is wrong."""

    LOST = "lost"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out-of-order"
    WRONG_TEXT = "wrong-text"
    WRONG_END = "wrong-end"
    FOREIGN = "foreign"
    TAKEN_BACK = "taken-back"
    NOT_ACCEPTED = "not-accepted"
    TRANSCRIPT = "transcript"
    QUEUE = "queue"
    LEAK = "leak"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as promised. `where`: a session, a stream, a process; `who` saw it."""

    kind: Kind
    where: str
    message_id: str
    detail: str
    who: str = ""


@dataclass(frozen=True, slots=True)
class Posted:
    """A message as its sender knows it: `count` up to `tokens`."""

    message_id: str
    tokens: int
    fate: Fate


@dataclass(slots=True)
class _Message:
    """How far a message has come at this reader. `missing`: ids that were skipped and may still come, in disorder."""

    next_id: int = 0
    missing: set[int] = field(default_factory=set)
    positions: set[str] = field(default_factory=set)
    is_ended: bool = False


class Watch:
    """One reader's view of one session. `tokens` has what each message was asked for, before its first chunk comes."""

    def __init__(self, session_id: str, tokens: Mapping[str, int], who: str) -> None:
        self.session_id = session_id
        self.findings: list[Finding] = []
        self.chunks = 0
        self.ended: list[str] = []
        self._tokens = tokens
        self._who = who
        self._messages: dict[str, _Message] = {}
        self._open: str | None = None

    def on_chunk(self, position: str, chunk: Mapping[str, Any]) -> None:
        """One chunk as the reader got it."""
        self.chunks += 1
        message_id = str(chunk.get("message_id"))
        if chunk.get("session_id") != self.session_id or message_id not in self._tokens:
            self._find(Kind.FOREIGN, message_id, f"a chunk of session {chunk.get('session_id')!r}")
            return
        message = self._messages.setdefault(message_id, _Message())
        self._check_turn(message_id, message)
        self._check_position(message_id, message, position)
        chunk_id = chunk.get("chunk_id")
        if type(chunk_id) is not int:
            self._find(Kind.WRONG_TEXT, message_id, f"a chunk_id that is no number: {chunk_id!r}")
            return
        self._check_id(message_id, message, chunk_id)
        self._check_text(message_id, chunk_id, chunk)
        if chunk.get("is_final") is True:
            self._end(message_id, message)

    def on_reset(self, body: Mapping[str, Any]) -> None:
        """Text was taken back. `count` goes on at the exact token, so no fault is a reason."""
        self._find(Kind.TAKEN_BACK, str(body.get("message_id", "")), f"reset: {body.get('reason')}")

    @property
    def is_between(self) -> bool:
        """No answer has begun without having ended."""
        return self._open is None

    def has_ended(self, message_id: str) -> bool:
        message = self._messages.get(message_id)
        return message is not None and message.is_ended

    def verdict(self, posted: Iterable[Posted]) -> list[Finding]:
        """Everything found, once all is over: what was accepted has ended whole and in the order of acceptance, what was
        refused never came, what stayed open came whole or not at all."""
        known = list(posted)
        for each in known:
            self._check_fate(each, self._messages.get(each.message_id))
        self._check_order([each.message_id for each in known if each.fate is Fate.ACCEPTED])
        return self.findings

    # --- one chunk -------------------------------------------------------------------------------------------------

    def _check_turn(self, message_id: str, message: _Message) -> None:
        """One answer at a time in a session."""
        if message.is_ended:
            self._find(Kind.REPEATED, message_id, "a chunk behind the final one")
        elif self._open is None:
            self._open = message_id
        elif self._open != message_id:
            self._find(Kind.OUT_OF_ORDER, message_id, f"begins while {self._open} is being answered")
            self._open = message_id

    def _check_position(self, message_id: str, message: _Message, position: str) -> None:
        """Of one message that is being answered only, which keeps this small: a position of an earlier one would come
        with that one's chunk again."""
        if not position:
            self._find(Kind.LOST, message_id, "a chunk without a position: it can't be replayed")
        elif position in message.positions:
            self._find(Kind.REPEATED, message_id, f"position {position} came twice")
        message.positions.add(position)

    def _check_id(self, message_id: str, message: _Message, chunk_id: int) -> None:
        if chunk_id in message.missing:
            message.missing.discard(chunk_id)
            self._find(Kind.OUT_OF_ORDER, message_id, f"chunk {chunk_id} came after later ones")
        elif chunk_id < message.next_id:
            self._find(Kind.REPEATED, message_id, f"chunk {chunk_id} came again")
        else:
            message.missing.update(range(message.next_id, min(chunk_id, self._tokens[message_id] + 1)))
            message.next_id = chunk_id + 1

    def _check_text(self, message_id: str, chunk_id: int, chunk: Mapping[str, Any]) -> None:
        tokens = self._tokens[message_id]
        expected = f"{chunk_id + 1} " if chunk_id < tokens else ""
        if chunk.get("chunk") != expected or chunk.get("chunk_type") != "content":
            detail = f"chunk {chunk_id} is {chunk.get('chunk_type')} {chunk.get('chunk')!r}"
            self._find(Kind.WRONG_TEXT, message_id, f"{detail}, expected content {expected!r}")
        is_final = chunk.get("is_final") is True
        if is_final != (chunk_id == tokens):
            self._find(Kind.WRONG_END, message_id, f"chunk {chunk_id} of {tokens} has is_final {is_final}")
        metadata = chunk.get("metadata")
        reason = metadata.get("finish_reason") if isinstance(metadata, Mapping) else None
        if is_final and reason != "stop":
            self._find(Kind.WRONG_END, message_id, f"ended with {reason!r}")

    def _end(self, message_id: str, message: _Message) -> None:
        message.positions.clear()
        if message.is_ended:
            self._find(Kind.WRONG_END, message_id, "ended twice")
            return
        message.is_ended = True
        self.ended.append(message_id)
        if message.missing:
            self._find(Kind.LOST, message_id, f"chunks {_ids(message.missing)} never came")
        if self._open == message_id:
            self._open = None

    # --- a message's fate ------------------------------------------------------------------------------------------

    def _check_fate(self, posted: Posted, message: _Message | None) -> None:
        if posted.fate is Fate.REFUSED and message is not None:
            self._find(Kind.NOT_ACCEPTED, posted.message_id, "was refused, and answered all the same")
        elif posted.fate is Fate.ACCEPTED and message is None:
            self._find(Kind.LOST, posted.message_id, "was accepted, and no chunk of its answer came")
        elif posted.fate is not Fate.REFUSED and message is not None and not message.is_ended:
            detail = f"ends at chunk {message.next_id - 1} of {posted.tokens}, without a final one"
            self._find(Kind.LOST, posted.message_id, detail)

    def _check_order(self, accepted: list[str]) -> None:
        """The first place where the order of the answers is not that of acceptance; what follows it follows from it."""
        both = set(accepted) & set(self.ended)
        was = [message_id for message_id in self.ended if message_id in both]
        should = [message_id for message_id in accepted if message_id in both]
        for one, other in zip(was, should, strict=True):
            if one != other:
                self._find(Kind.OUT_OF_ORDER, one, f"answered before {other}, which was accepted earlier")
                return

    def _find(self, kind: Kind, message_id: str, detail: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, self.session_id, message_id, detail, self._who))


def _ids(numbers: set[int]) -> str:
    first, last = min(numbers), max(numbers)
    return str(first) if first == last else f"{first} to {last} ({len(numbers)})"
