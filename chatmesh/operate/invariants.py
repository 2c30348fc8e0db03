"""What holds of a stored session, whoever died meanwhile: pure.

In: the session's records and claims, each in the order of the stream. Out: what does not hold, and where. It reads
nothing and knows no worker: whoever can read the transcript can judge it.

A transcript may begin late, since its oldest part expires, and so may the one message that is cut by that.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chatmesh.broker import HeldClaim
from chatmesh.protocol.chunks import metadata_of
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Violation:
    """`kind`: `record` (it is not of this session or message), `offset`, `fence`, `chunk_id`, `final`, `digest`."""

    kind: str
    where: str
    what: str
    message_id: Token | None = None


def check_session(
    session_id: Token,
    records: Sequence[Record],
    claims: Sequence[HeldClaim],
    *,
    ended: Collection[Token] = (),
) -> list[Violation]:
    """Everything that does not hold; nothing where all does. `ended`: messages whose final has to be there. Records of
    several messages may interleave: one that was stopped in the queue gets its final between another's records."""
    messages, cut = by_message(records), begun_before(records)
    found = [*_owners(session_id, records), *_offsets(records), *_fences(records, claims)]
    for message_id in {**messages, **dict.fromkeys(ended)}:
        own, is_cut = messages.get(message_id, []), message_id in cut
        found += [*_chunk_ids(own, is_cut=is_cut), *_finals(message_id, own, must_end=message_id in ended)]
        if not is_cut:
            found += _digests(own)
    return found


def by_message(records: Sequence[Record]) -> dict[Token, list[Record]]:
    """Each message's records, in the order of the stream; messages in the order of their first record."""
    messages: dict[Token, list[Record]] = {}
    for record in records:
        messages.setdefault(record.message_id, []).append(record)
    return messages


def begun_before(records: Sequence[Record]) -> set[Token]:
    """The messages whose beginning has expired: the first record of a message carries what was asked."""
    begins_late = bool(records) and records[0].offset > 1
    firsts = [own[0] for own in by_message(records).values()]
    return {first.message_id for first in firsts if begins_late and first.request is None}


def until_final(records: Sequence[Record]) -> Sequence[Record]:
    """A message's records to its first final. What lies behind it is no part of the answer, and told of elsewhere."""
    for count, record in enumerate(records, start=1):
        if record.final is not None:
            return records[:count]
    return records


def text_digest(records: Sequence[Record]) -> str:
    """What the final of a message with these records says in `metadata.digest`: SHA-256 over the UTF-8 of all content,
    beginning anew with a record that resets."""
    told = hashlib.sha256()
    for record in records:
        if record.reset is not None:
            told = hashlib.sha256()
        for chunk in record.chunks:
            if chunk.get("chunk_type") == "content":
                told.update(str(chunk.get("chunk", "")).encode())
    return f"sha256:{told.hexdigest()}"


def _owners(session_id: Token, records: Sequence[Record]) -> Iterator[Violation]:
    for record in records:
        owner = (session_id, record.message_id)
        if record.session_id != session_id:
            yield _of(record, "record", f"it says that it is of session {record.session_id}")
        elif any((chunk.get("session_id"), chunk.get("message_id")) != owner for chunk in record.chunks):
            yield _of(record, "record", "it has a chunk of another session or message")


def _offsets(records: Sequence[Record]) -> Iterator[Violation]:
    expected = records[0].offset if records else 1
    for record in records:
        if record.offset < max(1, expected):
            yield _of(record, "offset", f"offset {record.offset} comes after {expected - 1}")
        elif record.offset > expected:
            missing = _span(expected, record.offset - 1)
            yield _of(record, "offset", f"offset {missing} is missing before it")
        expected = max(expected, record.offset + 1)


def _fences(records: Sequence[Record], claims: Sequence[HeldClaim]) -> Iterator[Violation]:
    """A record is stored only under the claim that is the last one at that moment. A claim is older than its records,
    so where no claim before a record is left, it has expired."""
    tokens = sorted(held.token for held in claims)
    highest = 0
    for record in records:
        before = bisect_left(tokens, record.seq)
        if record.token < highest:
            what = (
                f"claim token {record.token} comes after {highest}: a worker wrote that had lost the session"
            )
            yield _of(record, "fence", what)
        elif before and tokens[before - 1] != record.token:
            what = f"it was written under claim {record.token} while {tokens[before - 1]} was the last one"
            yield _of(record, "fence", what)
        highest = max(highest, record.token)


def _chunk_ids(records: Sequence[Record], *, is_cut: bool) -> Iterator[Violation]:
    expected: int | None = None if is_cut else 0
    for record, chunk in _chunks(records):
        number = chunk.get("chunk_id")
        if type(number) is not int:
            yield _of(record, "chunk_id", f"chunk_id is {number!r:.40}, no integer")
            continue
        expected = number if expected is None else expected
        if number < expected:
            yield _of(record, "chunk_id", f"chunk_id {number} is used again")
        elif number > expected:
            missing = _span(expected, number - 1)
            yield _of(record, "chunk_id", f"chunk_id {missing} is missing before {number}")
        expected = max(expected, number + 1)


def _finals(message_id: Token, records: Sequence[Record], *, must_end: bool) -> Iterator[Violation]:
    has_ended = False
    for record in records:
        if has_ended and not record.chunks:
            yield _of(record, "final", "a record lies behind the final chunk")
        for chunk in record.chunks:
            is_final = chunk.get("is_final") is True
            if has_ended:
                what = "a second final chunk" if is_final else "a chunk lies behind the final one"
                yield _of(record, "final", what)
            has_ended = has_ended or is_final
    if must_end and not has_ended:
        what = "it has ended, and no final chunk is stored"
        yield Violation("final", f"message {message_id}", what, message_id)


def _digests(records: Sequence[Record]) -> Iterator[Violation]:
    told = until_final(records)
    if not told or (final := told[-1].final) is None:
        return
    digest = metadata_of(final).get("digest")
    if digest is None:
        return
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        what = f"the digest is {digest!r:.90}, not sha256: and 64 hexadecimal digits"
        yield _of(told[-1], "digest", what)
    elif digest != (computed := text_digest(told)):
        yield _of(told[-1], "digest", f"the text gives {computed}, the final says {digest}")


def _chunks(records: Sequence[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
    for record in records:
        for chunk in record.chunks:
            yield record, chunk


def _of(record: Record, kind: str, what: str) -> Violation:
    where = f"message {record.message_id}, offset {record.offset}, stream sequence {record.seq}"
    return Violation(kind, where, what, record.message_id)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
