"""What a turn has to do, decided from what the broker holds: pure.

A turn is one delivery's try to answer a message. It may begin only when its request is the oldest of its session still
in the queue (a work queue keeps what is not acknowledged); else it is parked. Then the session's last claim and the
message's last record say how far anybody got.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.broker import HeldClaim
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.workflow.ledger import Written, written


@dataclass(frozen=True, slots=True)
class Gone:
    """The request is no longer in the queue: another turn finished it. Nothing to do, nothing to ack."""


@dataclass(frozen=True, slots=True)
class Park:
    """An older request of the session is still in the queue."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The final record is stored; only the ack was lost. Tell readers once more, and ack."""

    record: Record


@dataclass(frozen=True, slots=True)
class Begin:
    """Nobody has worked on this message. `held` is the claim to follow, if there is one, `offset` the session's last
    record."""

    held: HeldClaim | None
    offset: int


@dataclass(frozen=True, slots=True)
class Continue:
    """Somebody claimed this message and has not finished it. Its holder is to be asked before it is claimed again."""

    held: HeldClaim


@dataclass(frozen=True, slots=True)
class Recount:
    """The last claim is of another message that has no final and is not in the queue any more (an operator removed it,
    or it grew too old), or fenced such a one off and no more. Where its records end is known only once it is fenced
    off."""

    held: HeldClaim


Plan = Gone | Park | Finish | Begin | Continue | Recount


def place(head: int | None, seq: int) -> Gone | Park | None:
    """Whether the request at `seq` may begin, where `head` is the oldest of its session. None: it may."""
    if head is None or head > seq:
        return Gone()
    return Park() if head < seq else None


def plan(message_id: Token, claim: HeldClaim | None, own: Record | None, previous: Record | None) -> Plan:
    """`own` is the message's last record; `previous` the last one of the message that `claim` names, where that is
    another."""
    if own is not None and own.final is not None:
        return Finish(own)
    if claim is None:
        return Begin(None, offset=0)
    if claim.claim.message_id == message_id:
        # Attempt 0 only fenced an abandoned message off: whoever made it died before its records were counted.
        return Continue(claim) if claim.claim.attempt else Recount(claim)
    if previous is not None and (previous.final is not None or previous.resets_all):
        return Begin(claim, offset=previous.offset)
    return Recount(claim)


TOOL_CALL = '"type":"tool_call"'
"""In a structured chunk's JSON this stands for a tool call only: inside a text the quotes would be escaped."""


@dataclass(frozen=True, slots=True)
class Told:
    """What earlier attempts at a message have already stored. `is_void`: there is more than text to it, half a tool call
    or thoughts before any text, and nobody can go on behind that. `written`: by which models."""

    text: str = ""
    content_chunks: int = 0
    next_chunk_id: int = 0
    offset: int = 0
    records: int = 0
    final: Record | None = None
    is_void: bool = False
    written: tuple[Written, ...] = ()


def told(records: list[Record], message_id: Token, offset: int) -> Told:
    """Sums up `message_id` from the session's records since its first claim, oldest first; `offset` is the session's
    before the first of them. What was shown before a reset does not count, but its chunk ids are never used again."""
    texts: list[str] = []
    next_chunk_id, count = 0, 0
    has_calls = has_thoughts = False
    final: Record | None = None
    for record in records:
        offset = record.offset
        if record.message_id != message_id:
            continue
        count += 1
        if record.reset is not None:
            texts.clear()
            has_calls = has_thoughts = False
        for chunk in record.chunks:
            # A field may lack: what is no chunk of ours must not stop every turn at this message.
            if isinstance(number := chunk.get("chunk_id"), int):
                next_chunk_id = number + 1
            if chunk.get("chunk_type") == "content" and not chunk.get("is_final"):
                texts.append(str(chunk.get("chunk", "")))
            elif chunk.get("chunk_type") == "metadata":
                has_thoughts = True
                has_calls = has_calls or TOOL_CALL in str(chunk.get("chunk", ""))
        final = record if record.final is not None else final
    is_void = has_calls or (has_thoughts and not texts)
    spent = written(record for record in records if record.message_id == message_id)
    return Told("".join(texts), len(texts), next_chunk_id, offset, count, final, is_void, spent)
