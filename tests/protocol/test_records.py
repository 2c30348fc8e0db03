"""Claims and records: what is written is read again, stored and live."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.errors import ProtocolError
from chatmesh.protocol.chunks import Chunks
from chatmesh.protocol.jsontext import encode
from chatmesh.protocol.messages import ChunkBatch, WorkflowRequest
from chatmesh.protocol.records import KEPT, TOMBSTONE, Claim, Erasure, Record, RecordHead, asked
from chatmesh.protocol.tokens import Token
from tests.protocol.values import CLAIMS, PLACES, REQUESTS, records


def head_of(record: Record) -> RecordHead:
    return RecordHead(
        record.session_id,
        record.message_id,
        record.offset,
        record.attempt,
        record.token,
        request=record.request,
        reset=record.reset,
        resets_all=record.resets_all,
    )


def chunks_of(record: Record) -> list[bytes]:
    return [encode(chunk) for chunk in record.chunks]


@given(CLAIMS)
@settings(deadline=None, max_examples=50)
def test_a_claim_survives_the_wire(claim: Claim) -> None:
    assert Claim.decode(claim.encode()) == claim


@given(records())
@settings(deadline=None)
def test_a_stored_record_survives_with_the_sequence_it_was_stored_at(record: Record) -> None:
    assert Record.decode(head_of(record).encode(chunks_of(record)), record.seq) == record


@given(records())
@settings(deadline=None)
def test_a_live_record_carries_its_sequence_and_not_what_was_asked(record: Record) -> None:
    live = head_of(record).encode(chunks_of(record), seq=record.seq)
    assert Record.decode(live) == replace(record, request=None)


@given(records())
@settings(deadline=None, max_examples=50)
def test_every_record_is_a_batch_of_the_seed_to_somebody_else(record: Record) -> None:
    body = json.loads(head_of(record).encode(chunks_of(record), seq=record.seq))
    assert body["session_id"] == record.session_id
    assert body["chunks"] == record.chunks
    own = [chunk | {"session_id": record.session_id} for chunk in record.chunks]
    assert len(ChunkBatch.decode(encode(body | {"chunks": own})).chunks) == len(own)


@given(record=records(), seq=PLACES)
@settings(deadline=None, max_examples=30)
def test_the_sequence_of_the_stream_wins_over_one_in_the_body(record: Record, seq: int) -> None:
    live = head_of(record).encode(chunks_of(record), seq=record.seq)
    assert Record.decode(live, seq).seq == seq


def test_a_stored_record_has_no_sequence_of_its_own() -> None:
    stored = RecordHead("s", "m", 1, 1, 1).encode([])
    with pytest.raises(ProtocolError):
        Record.decode(stored)


@given(records())
@settings(deadline=None, max_examples=50)
def test_the_events_of_a_record_are_its_chunks_and_its_reset(record: Record) -> None:
    assert record.events == len(record.chunks) + (1 if record.reset is not None else 0)


@pytest.mark.parametrize(
    ("flags", "is_final"), [([], False), ([False], False), ([False, True], True), ([True, False], False)]
)
def test_the_final_chunk_is_the_last_one_of_its_record(flags: list[bool], is_final: bool) -> None:
    record = Record("s", "m", 1, 1, 1, 1, Chunks([{"is_final": flag} for flag in flags]))
    assert (record.final is not None) == is_final


@given(REQUESTS)
@settings(deadline=None, max_examples=50)
def test_a_first_record_keeps_what_recognises_a_repetition(request: WorkflowRequest) -> None:
    kept = asked(request)
    assert kept == {
        "message": request.message,
        "user_id": request.user_id,
        "model": request.model,
        "digest": request.digest(),
        "timestamp": request.timestamp,
        "correlation_id": request.correlation_id,
        "context": {
            name: value for name, value in request.context.items() if name in KEPT and value is not None
        },
    }
    assert json.loads(encode(kept)) == kept
    assert len(encode(kept)) < len(request.encode()) + 64, "it has to fit where the request did"


def test_a_first_record_keeps_of_the_context_what_an_openai_response_says_again() -> None:
    context = {"model": "m", "temperature": 0, "metadata": {"a": "b"}, "tools": [1], "top_p": None}
    request = WorkflowRequest(Token("m"), Token("s"), "", "hi", context, "t", "c")
    assert asked(request)["context"] == {"temperature": 0, "metadata": {"a": "b"}}


@pytest.mark.parametrize(
    "body", ["[]", '"x"', "5", "null", "true", '{"chunks": {}}', '{"chunks": [1]}', "{}"]
)
def test_what_is_no_record_is_refused(body: str) -> None:
    with pytest.raises(ProtocolError):
        Record.decode(body.encode(), 1)


@given(st.integers(0, 5))
@settings(deadline=None, max_examples=6)
def test_optional_parts_may_be_absent_or_null(number: int) -> None:
    least = {"session_id": "s", "message_id": "m", "offset": 1, "attempt": 1, "token": 1, "chunks": []}
    nulls = {"request": None, "reset": None, "a_new_field": number}
    assert Record.decode(encode(least | nulls), 1) == Record.decode(encode(least), 1)


@given(PLACES, PLACES)
@settings(deadline=None, max_examples=20)
def test_an_erasure_survives_the_wire(seq: int, queue_seq: int) -> None:
    assert Erasure.decode(Erasure.encode("s", queue_seq, "t"), seq) == Erasure(seq, queue_seq)


@pytest.mark.parametrize(
    "body", ["{}", "[]", '{"queue_seq": "1"}', '{"queue_seq": -1}', '{"queue_seq": null}']
)
def test_what_is_no_erasure_is_refused(body: str) -> None:
    with pytest.raises(ProtocolError):
        Erasure.decode(body.encode(), 1)


def test_what_is_left_of_an_erased_record_is_no_record() -> None:
    with pytest.raises(ProtocolError):
        Record.decode(TOMBSTONE, 1)
