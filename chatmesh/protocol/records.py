"""What the transcript stream holds: claims and records.

A *claim* says which worker may write a session's transcript; its stream sequence is the fence token of every record
written under it. A *record* is one ChunkBatch as stored: the seed's fields, and around them the session-wide `offset`
(1, 2, 3 … without a hole: this is what a reader's position counts), the attempt and the token. The first record of a
message also carries what was asked, so that history outlives the work queue.

What a pod gets live is the same bytes but for the `request`, with the stream sequence (`seq`) added: it is known only
once the record is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext, tool_results
from chatmesh.protocol.chunks import FINAL, Chunks, check_depth, join, split
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.sealing import DataKey, Kind
from chatmesh.protocol.tokens import Token, token

MAX_RECENT = 100
"""Messages before one that a claim points to: what models get of a conversation is shorter."""

MAX_WHOLE = 10**12 - 1
"""Of offsets and sequences: what a reader's position can say."""


def _whole(body: dict[str, Any], name: str) -> int:
    """Sharper than `int`, which takes nearly everything."""
    value = body[name]
    if type(value) is not int or not 0 <= value <= MAX_WHOLE:
        raise ProtocolError(
            f"{name} must be an integer from 0 to {MAX_WHOLE}, got {type(value).__name__}", where=name
        )
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str):
        raise ProtocolError(f"{name} must be a string, got {type(value).__name__}", where=name)
    return value


@dataclass(frozen=True, slots=True)
class Claim:
    """Worker `worker_id` (in its life `boot`) answers `message_id`.

    `base` is the session's offset before the message's first record and `first` the sequence of the message's first
    claim (0 where this is it): together they say where the answer begins. `offset` is the session's last offset as the
    claimant knew it. `erases`: the session is erased under it, and nobody answers. `handed_over`: its holder has left in
    good order, so whoever claims next makes the same attempt. `recent` are the first claims of the messages before this one,
    oldest first: where to read what was said lately. `nonce` recognises one's own claim where its acknowledgement was lost.
    """

    session_id: Token
    message_id: Token
    worker_id: Token
    boot: str
    nonce: str
    attempt: int
    base: int
    first: int
    offset: int
    timestamp: str
    erases: bool = False
    handed_over: bool = False
    recent: tuple[int, ...] = ()

    def encode(self) -> bytes:
        return orjson.dumps(
            {
                "session_id": self.session_id,
                "message_id": self.message_id,
                "worker_id": self.worker_id,
                "boot": self.boot,
                "nonce": self.nonce,
                "attempt": self.attempt,
                "base": self.base,
                "first": self.first,
                "offset": self.offset,
                "timestamp": self.timestamp,
                "erases": self.erases,
                "handed_over": self.handed_over,
                "recent": self.recent,
            }
        )

    @classmethod
    def unknown(cls, session_id: Token) -> Claim:
        """In the place of one that can't be read: nobody holds it, and how far the session got is to be counted."""
        nobody = Token("unreadable")
        return cls(session_id, nobody, nobody, "", "", attempt=0, base=0, first=1, offset=0, timestamp="")

    @classmethod
    def decode(cls, data: bytes) -> Claim:
        body = jsontext.decode_object(data, "Claim")
        try:
            return cls(
                session_id=token(body["session_id"], "session_id"),
                message_id=token(body["message_id"], "message_id"),
                worker_id=token(body["worker_id"], "worker_id"),
                boot=_text(body, "boot"),
                nonce=_text(body, "nonce"),
                attempt=_whole(body, "attempt"),
                base=_whole(body, "base"),
                first=_whole(body, "first"),
                offset=_whole(body, "offset"),
                timestamp=_text(body, "timestamp"),
                erases=body.get("erases") is True,
                handed_over=body.get("handed_over") is True,
                recent=_sequences(body.get("recent")),
            )
        except KeyError as error:
            raise ProtocolError(f"not a claim: {error!r}") from error


def _sequences(value: Any) -> tuple[int, ...]:
    """Rising stream sequences. Only a hint where to read, so what is none is left out."""
    found = value if isinstance(value, list) else []
    return tuple(sorted({seq for seq in found if type(seq) is int and 0 < seq <= MAX_WHOLE})[-MAX_RECENT:])


TOMBSTONE = b'{"erased":true}'
"""What is left of a message's records once its session was erased."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """Everything of the session before this was erased: what was claimed at a lower stream sequence than `seq`, and
    requests at `queue_seq` (that of the erase request) or before it in the work queue."""

    seq: int
    queue_seq: int

    @staticmethod
    def encode(session_id: Token, queue_seq: int, timestamp: str) -> bytes:
        return orjson.dumps({"session_id": session_id, "queue_seq": queue_seq, "timestamp": timestamp})

    @classmethod
    def decode(cls, data: bytes, seq: int) -> Erasure:
        body = jsontext.decode_object(data, "Erasure")
        try:
            return cls(seq, _whole(body, "queue_seq"))
        except KeyError as error:
            raise ProtocolError(f"not an erasure: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Stop:
    """A message is to be stopped, or (`queue_seq`) everything of the session that was accepted before that sequence of the
    work queue, where the erase request stands. So one that erases never hits what is accepted behind it."""

    queue_seq: int = 0

    def encode(self, session_id: Token, message_id: Token, timestamp: str) -> bytes:
        body = {"session_id": session_id, "message_id": message_id, "timestamp": timestamp}
        return orjson.dumps(body | {"queue_seq": self.queue_seq} if self.queue_seq else body)

    @classmethod
    def decode(cls, data: bytes) -> Stop:
        """Never raises: that it is there is the stop, whatever it says."""
        try:
            return cls(_whole(jsontext.decode_object(data, "Stop"), "queue_seq"))
        except (KeyError, ProtocolError):
            return cls()


KEPT = (
    "metadata",
    "previous_response_id",
    "background",
    "store",
    "temperature",
    "top_p",
    "max_tokens",
)
"""Of a request's context: what an OpenAI response says again of its request. Small: no prompt, history or tools. Results of tools
are kept beside it: later messages need them."""


def asked(request: WorkflowRequest) -> dict[str, Any]:
    """What the first record of a message keeps of its request: enough for history, for recognising a repetition, and for
    other formats. But for the digest it is no larger than the request."""
    context = {key: request.context[key] for key in KEPT if request.context.get(key) is not None}
    if results := tool_results.brought(request.context):
        context[tool_results.KEY] = results
    return {
        "message": request.message,
        "user_id": request.user_id,
        "model": request.model,
        "digest": request.digest(),
        "timestamp": request.timestamp,
        "correlation_id": request.correlation_id,
        "context": context,
    }


@dataclass(frozen=True, slots=True)
class RecordHead:
    """Everything of a record but its chunks. `reset` is the reason for which the shown text is to be dropped: of this
    message, or (`resets_all`) of the whole session, up to what was accepted at `queue_seq` of the work queue."""

    session_id: Token
    message_id: Token
    offset: int
    attempt: int
    token: int
    request: dict[str, Any] | None = None
    reset: str | None = None
    resets_all: bool = False
    queue_seq: int = 0
    traceparent: str = ""
    """Of the message's trace; it travels in a header, not in the body."""
    key: DataKey | None = None
    """With which it is sealed; None: in clear."""

    def encode(self, chunks: Sequence[bytes], *, seq: int | None = None) -> bytes:
        """The stored body, or (with `seq`) the live one; sealed, where there is a key. `chunks` are encoded
        ResponseChunks."""
        head: dict[str, Any] = {
            "session_id": self.session_id,
            "message_id": self.message_id,
            "offset": self.offset,
        }
        head["attempt"] = self.attempt
        head["token"] = self.token
        if seq is not None:
            head["seq"] = seq
        elif self.request is not None:
            head["request"] = self.request
        if self.reset is not None:
            head["reset"] = self.reset
            head["resets_all"] = self.resets_all
            if self.resets_all:
                head["queue_seq"] = self.queue_seq
        body = join(orjson.dumps(head)[:-1], chunks)
        if self.key is None:
            return body
        kind = Kind.RECORD if seq is None else Kind.LIVE
        return self.key.seal(kind, self.message_id, body, is_final=bool(chunks) and FINAL in chunks[-1])


@dataclass(slots=True)
class Record:
    """A record as read: from the transcript, or live. `seq` is its sequence in the transcript stream. Nobody changes one; it
    is not frozen because each batch makes one, which would take half as long again."""

    session_id: Token
    message_id: Token
    offset: int
    attempt: int
    token: int
    seq: int
    chunks: Chunks
    request: dict[str, Any] | None = None
    reset: str | None = None
    resets_all: bool = False
    queue_seq: int = 0
    events: int = field(init=False)

    def __post_init__(self) -> None:
        self.events = len(self.chunks) + (self.reset is not None)

    @classmethod
    def decode(cls, data: bytes, seq: int | None = None) -> Record:
        """From the transcript (`seq` given) or from a response or broadcast subject (`seq` inside). Of a live one the chunks
        are read when they are asked for."""
        parts = split(data)
        head, lines = parts if parts is not None else (data, None)
        try:
            body = orjson.loads(head)
        except orjson.JSONDecodeError as error:
            raise ProtocolError(f"not a record: {error}") from error
        check_depth(head, body)
        if lines is None:
            return cls.parse(body, seq)
        chunks = Chunks(lines=lines)
        if seq is not None:
            chunks.read()
        return cls._parse(body, chunks, seq)

    @classmethod
    def parse(cls, body: Any, seq: int | None = None) -> Record:
        """From an object of one of our own workers; its chunks are passed on as they are."""
        chunks = body.get("chunks") if isinstance(body, dict) else None
        if not (isinstance(chunks, list) and all(isinstance(chunk, dict) for chunk in chunks)):
            raise ProtocolError("the chunks of a record must be a list of objects")
        return cls._parse(body, Chunks(chunks), seq)

    @classmethod
    def _parse(cls, body: Any, chunks: Chunks, seq: int | None) -> Record:
        try:
            reset = body.get("reset")
            resets_all = body.get("resets_all") is True
            request = body.get("request")
            return cls(
                session_id=token(body["session_id"], "session_id"),
                message_id=token(body["message_id"], "message_id"),
                offset=_whole(body, "offset"),
                attempt=_whole(body, "attempt"),
                token=_whole(body, "token"),
                seq=_whole(body, "seq") if seq is None else seq,
                chunks=chunks,
                request=request if isinstance(request, dict) else None,
                reset=reset if isinstance(reset, str) else None,
                resets_all=resets_all,
                queue_seq=_whole(body, "queue_seq") if resets_all and "queue_seq" in body else 0,
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ProtocolError(f"not a record: {error!r}") from error

    @property
    def final(self) -> dict[str, Any] | None:
        """The message's final chunk, if this record has it."""
        return self.chunks.final
