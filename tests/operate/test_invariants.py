"""A lawful transcript passes, and every way in which one can be wrong is told with its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chatmesh.broker import HeldClaim
from chatmesh.operate.invariants import check_session
from chatmesh.protocol.chunks import Chunks
from chatmesh.protocol.records import Claim, Record
from chatmesh.protocol.tokens import Token
from tests.operate import support
from tests.operate.support import sha

S, M, Q = Token("s"), Token("m"), Token("q")


def claim(token: int, message_id: Token = M) -> HeldClaim:
    return HeldClaim(replace(Claim.unknown(S), message_id=message_id, attempt=1), token)


def chunk(number: int, text: str = "", message_id: Token = M, **fields: Any) -> dict[str, Any]:
    return support.chunk(message_id, number, text, **fields)


def final(number: int, text: str = "", message_id: Token = M, *, digest: object = None) -> dict[str, Any]:
    metadata = {"finish_reason": "stop"} | ({} if digest is None else {"digest": digest})
    return chunk(number, text, message_id, is_final=True, metadata=metadata)


def record(
    seq: int, offset: int, token: int, *chunks: dict[str, Any], message_id: Token = M, **fields: Any
) -> Record:
    """At sequence `seq`; the first one of a message has what was asked unless `fields` says otherwise."""
    asked = {"message": "go"} if chunks and chunks[0]["chunk_id"] == 0 else None
    given = {"request": asked} | fields
    return Record(S, message_id, offset, 1, token, seq, Chunks(list(chunks)), **given)


def kinds(records: list[Record], claims: list[HeldClaim], *ended: Token) -> list[str]:
    return [violation.kind for violation in check_session(S, records, claims, ended=ended)]


ONE_TWO = [
    record(2, 1, 1, chunk(0, "one ")),
    record(3, 2, 1, chunk(1, "tw"), final(2, "ö", digest=sha("one twö"))),
]

LAWFUL = {
    "nothing": ([], []),
    "an answer that runs": ([record(2, 1, 1, chunk(0, "one "))], [claim(1)]),
    "an answer that ended": (ONE_TWO, [claim(1)]),
    "a claim that came later": (ONE_TWO, [claim(1), claim(9)]),
    "a takeover": (
        [record(2, 1, 1, chunk(0, "a")), record(4, 2, 3, chunk(1, "b"), final(2, digest=sha("ab")))],
        [claim(1), claim(3)],
    ),
    "a takeover that began anew": (
        [
            record(2, 1, 1, chunk(0, "a")),
            record(4, 2, 3, chunk(1, "b"), final(2, digest=sha("b")), reset="lost"),
        ],
        [claim(1), claim(3)],
    ),
    "chunks that are no content": (
        [record(2, 1, 1, chunk(0, "a"), chunk(1, "x", chunk_type="metadata"), final(2, digest=sha("a")))],
        [claim(1)],
    ),
    "a final of another message between": (
        [
            record(2, 1, 1, chunk(0, "a")),
            record(3, 2, 1, final(0, message_id=Q, digest=sha("")), message_id=Q),
            record(4, 3, 1, final(1, digest=sha("a"))),
        ],
        [claim(1)],
    ),
    "an answer whose beginning has expired": (
        [record(90, 12, 80, chunk(7, "g")), record(91, 13, 80, final(8, digest=sha("abcdefgh")))],
        [],
    ),
    "a session that was erased before": (
        [
            record(90, 12, 80, message_id=Token("erase"), reset="session_erased", resets_all=True),
            record(92, 13, 91, final(0, digest=sha(""))),
        ],
        [claim(80), claim(91)],
    ),
    "a final without a digest": ([record(2, 1, 1, final(0, "any"))], [claim(1)]),
}


@pytest.mark.parametrize(("records", "claims"), LAWFUL.values(), ids=LAWFUL.keys())
def test_lawful_transcripts_have_no_violation(records: list[Record], claims: list[HeldClaim]) -> None:
    assert check_session(S, records, claims) == []


def test_message_that_has_ended_has_its_final_and_others_may_still_run() -> None:
    running = [record(2, 1, 1, chunk(0, "one "))]
    assert kinds(running, [claim(1)], M) == ["final"]
    assert kinds(ONE_TWO, [claim(1)], M) == []
    assert kinds(ONE_TWO, [claim(1)], M, Q) == ["final"]


DAMAGED = {
    "an offset twice": ("offset", [record(2, 1, 1, chunk(0)), record(3, 1, 1, final(1))]),
    "an offset that is missing": ("offset", [record(2, 1, 1, chunk(0)), record(3, 3, 1, final(1))]),
    "an offset of nothing": ("offset", [record(2, 0, 1, chunk(0), final(1))]),
    "a token that went back": (
        "fence",
        [record(6, 1, 5, chunk(0)), record(7, 2, 1, chunk(1)), record(8, 3, 5, final(2))],
    ),
    "a record under a claim that was over": ("fence", [record(6, 1, 1, final(0))]),
    "a chunk that is missing": ("chunk_id", [record(2, 1, 1, chunk(0), final(2))]),
    "a chunk twice": ("chunk_id", [record(2, 1, 1, chunk(0)), record(3, 2, 1, chunk(0), final(1))]),
    "an answer that begins late": (
        "chunk_id",
        [record(2, 1, 1, chunk(1), final(2), request={"message": "go"})],
    ),
    "an answer that begins late in a transcript that does": (
        "chunk_id",
        [record(2, 7, 1, chunk(1), final(2), request={"message": "go"})],
    ),
    "a chunk without a number": ("chunk_id", [record(2, 1, 1, chunk(0), final(1) | {"chunk_id": "1"})]),
    "a second final": ("final", [record(2, 1, 1, final(0)), record(3, 2, 1, final(1))]),
    "a chunk behind the final": ("final", [record(2, 1, 1, final(0)), record(3, 2, 1, chunk(1))]),
    "an empty record behind the final": ("final", [record(2, 1, 1, final(0)), record(3, 2, 1, reset="late")]),
    "a text that was changed": ("digest", [record(2, 1, 1, chunk(0, "b"), final(1, digest=sha("a")))]),
    "a digest that is none": ("digest", [record(2, 1, 1, final(0, digest="md5:00"))]),
    "a digest that is no text": ("digest", [record(2, 1, 1, final(0, digest=7))]),
    "a record of another session": ("record", [replace(record(2, 1, 1, final(0)), session_id=Token("t"))]),
    "a chunk of another message": ("record", [record(2, 1, 1, final(0, message_id=Q))]),
}


@pytest.mark.parametrize(("kind", "records"), DAMAGED.values(), ids=DAMAGED.keys())
def test_every_damage_is_told_once_and_with_its_place(kind: str, records: list[Record]) -> None:
    (violation,) = check_session(S, records, [claim(1), claim(5)] if records[0].seq > 5 else [claim(1)])
    assert violation.kind == kind
    assert violation.where in {
        f"message {record.message_id}, offset {record.offset}, stream sequence {record.seq}"
        for record in records
    }
