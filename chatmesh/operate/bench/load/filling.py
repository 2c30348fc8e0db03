"""What people have said long ago: whole sessions, as a mesh stores them. Pure.

Each message is written by the encoders that a worker writes with, under the subject, the headers and the fence that it has there.
Two things differ: no `Nats-Msg-Id`, since the server keeps the ids of two minutes in memory, and nobody says ten million messages
in two minutes; and the time, which is one for all. Records and claims name claims by their stream sequence, so a session
has to know where in the stream it will lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chatmesh.broker import header_block
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import Claim, RecordHead, asked
from chatmesh.protocol.spend import Call, Spend
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token

TURNS = 5
"""Questions of a session, each answered."""

BATCHES: tuple[tuple[str, ...], ...] = (("1 ",), ("2 ", "3 "), ())
"""The records of an answer by their tokens, as `count` says them: the first token by itself, what came in the 50 ms behind it,
and the final chunk."""

PER_TURN = 1 + len(BATCHES)
PER_SESSION = TURNS * PER_TURN
"""Messages in the stream: for each question a claim, and the records of its answer."""

QUESTION = "count"
ANSWER = "".join(token for batch in BATCHES for token in batch)
TOKENS = sum(map(len, BATCHES))
MODEL = "count"
MAX_TEXT = 65_536
WORKER, BOOT = Token("worker-1"), "0123456789ab"
CORRELATION = "corr_0123456789abcdef"
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"
SPEND = Spend("", (Call(MODEL, 1, "length", 5, TOKENS, TOKENS),))

NUMBER_DIGITS = 8
MARK = 98_765_432
"""A session's number that is nothing else in it."""

LEAST_DIGITS = 6
"""Of a sequence that can be told from a length or a date."""


@dataclass(frozen=True, slots=True)
class Message:
    """One of the stream, before it is there."""

    subject: str
    headers: dict[str, str]
    body: bytes

    def published(self, reply: str) -> bytes:
        """As NATS's protocol has it; acknowledged at `reply`, unless that is empty."""
        head = header_block.write(self.headers)
        to = f"{self.subject} {reply}" if reply else self.subject
        line = f"HPUB {to} {len(head)} {len(head) + len(self.body)}\r\n"
        return b"%b%b%b\r\n" % (line.encode(), head, self.body)


class Sessions:
    """Sessions in NATS's protocol. `name` begins their ids.

    But for its number and the sequences of its claims, one is as the other: so a block is cut at these once, and put together
    for each session, which takes 1 µs a message instead of 10 and leaves the cores to the broker.
    """

    def __init__(self, name: str, unix_seconds: float) -> None:
        self._name = name
        self._unix_seconds = unix_seconds
        self._cuts: dict[tuple[int, str], _Cut | None] = {}

    def id(self, number: int) -> Token:
        """All of one length."""
        return Token(f"{self._name}-{number:0{NUMBER_DIGITS}d}")

    def block(self, number: int, seq: int, reply: str) -> bytes:
        """The session of that number with its first message at `seq`; the last one is acknowledged at `reply`."""
        digits = len(str(seq))
        if len(str(seq + PER_SESSION)) != digits:
            return self.plain_block(number, seq, reply)
        if (digits, reply) not in self._cuts:
            self._cuts[digits, reply] = self._find_cut(digits, reply)
        cut = self._cuts[digits, reply]
        return self.plain_block(number, seq, reply) if cut is None else cut.filled(number, seq)

    def plain_block(self, number: int, seq: int, reply: str) -> bytes:
        """The same, message by message."""
        found = list(messages(self.id(number), seq, self._unix_seconds))
        replies = [""] * (len(found) - 1) + [reply]
        return b"".join([message.published(to) for message, to in zip(found, replies, strict=True)])

    def _find_cut(self, digits: int, reply: str) -> _Cut | None:
        """None where it can't be told what is a sequence and what some other number."""
        if digits < LEAST_DIGITS:
            return None
        mark = int("7" * (digits - 2) + "10")
        cut = _Cut(self.plain_block(MARK, mark, reply), mark)
        low = 10 ** (digits - 1)
        return cut if cut.filled(1, low) == self.plain_block(1, low, reply) else None


class _Cut:
    """A session's block between the places where its number and its claims' sequences stand."""

    def __init__(self, block: bytes, mark: int) -> None:
        marks = [b"%d" % each for each in (MARK, *_tokens(mark))]
        self._parts = re.split(b"(" + b"|".join(marks) + b")", block)
        self._places = [(at, marks.index(self._parts[at])) for at in range(1, len(self._parts), 2)]

    def filled(self, number: int, seq: int) -> bytes:
        values = [b"%0*d" % (NUMBER_DIGITS, number), *(b"%d" % token for token in _tokens(seq))]
        parts = self._parts.copy()
        for at, which in self._places:
            parts[at] = values[which]
        return b"".join(parts)


def messages(session_id: Token, seq: int, unix_seconds: float) -> Iterator[Message]:
    """A session of `PER_SESSION` messages: the first gets the stream sequence `seq`, and each one the next."""
    tokens = _tokens(seq)
    for turn, token in enumerate(tokens):
        yield _claim(session_id, turn, tokens[:turn], unix_seconds)
        yield from _answer(session_id, turn, token, unix_seconds)


def message_id(turn: int) -> Token:
    return Token(f"m{turn + 1}")


def _tokens(seq: int) -> list[int]:
    """The sequences of the claims of a session that begins there."""
    return list(range(seq, seq + PER_SESSION, PER_TURN))


def _claim(session_id: Token, turn: int, before: list[int], unix_seconds: float) -> Message:
    offset = turn * len(BATCHES)
    claim = Claim(
        session_id,
        message_id(turn),
        WORKER,
        BOOT,
        f"{turn:016x}",
        attempt=1,
        base=offset,
        first=0,
        offset=offset,
        timestamp=iso(unix_seconds),
        recent=tuple(before),
    )
    last = str(before[-1] if before else 0)
    head = headers.own() | {headers.EXPECTED_SUBJECT_SEQUENCE: last}
    return Message(subjects.claim(session_id), head, claim.encode())


def _answer(session_id: Token, turn: int, token: int, unix_seconds: float) -> Iterator[Message]:
    message = message_id(turn)
    encoder = ChunkEncoder(session_id, message, CORRELATION, model=MODEL, attempt=1, max_text=MAX_TEXT)
    head = headers.own(TRACE) | {
        headers.EXPECTED_SUBJECT_SEQUENCE: str(token),
        headers.EXPECTED_SUBJECT: subjects.claim(session_id),
    }
    for number, batch in enumerate(BATCHES):
        chunks = encoder.content([(text, unix_seconds) for text in batch])
        if not batch:
            chunks = [encoder.final("length", unix_seconds, SPEND)]
        request = None if number else asked(_request(session_id, message, unix_seconds))
        offset = turn * len(BATCHES) + number + 1
        body = RecordHead(session_id, message, offset, 1, token, request).encode(chunks)
        yield Message(subjects.transcript(session_id, message), head, body)


def _request(session_id: Token, message: Token, unix_seconds: float) -> WorkflowRequest:
    context = {"model": MODEL, "max_tokens": TOKENS}
    return WorkflowRequest(message, session_id, "", QUESTION, context, iso(unix_seconds), CORRELATION)
