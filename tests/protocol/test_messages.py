"""Messages: the seed's JSON, field for field; unknown fields are ignored, absent and null optional ones accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.errors import ProtocolError
from chatmesh.protocol.messages import (
    ChunkBatch,
    HealthResponse,
    HeartbeatMessage,
    ResponseChunk,
    WorkflowRequest,
)
from chatmesh.protocol.tokens import Token
from tests.protocol.values import CHUNKS, HEALTH, JSON, OBJECTS, REQUESTS, TEXTS, batches, heartbeats

SEED_REQUEST: dict[str, Any] = {
    "message_id": "msg_abc123",
    "session_id": "sess_456",
    "user_id": "user_789",
    "message": "What is the weather today?",
    "context": {"ai_provider": "openai", "model": "gpt-4", "temperature": 0.7, "max_tokens": 2000},
    "timestamp": "2025-11-17T20:30:00Z",
    "correlation_id": "corr_xyz",
}
SEED_CHUNK: dict[str, Any] = {
    "session_id": "sess_456",
    "message_id": "msg_abc123",
    "chunk_id": 42,
    "chunk": " weather",
    "chunk_type": "content",
    "is_final": False,
    "metadata": {"model": "gpt-4", "tokens_used": 15},
    "timestamp": "2025-11-17T20:30:05.123Z",
    "correlation_id": "corr_xyz",
}
SEED_HEARTBEAT: dict[str, Any] = {
    "pod_id": "pod-1",
    "timestamp": "2025-11-17T20:30:05.123Z",
    "active_connections": 7,
    "memory_usage_mb": 81.5,
    "cpu_usage_percent": 2.5,
}
SEED_HEALTH: dict[str, Any] = {
    "pod_id": "pod-1",
    "status": "healthy",
    "active_connections": 7,
    "timestamp": "2025-11-17T20:30:05.123Z",
}

Decode = Callable[[bytes], Any]

BY_NAME: dict[str, tuple[Decode, dict[str, Any], set[str]]] = {
    "request": (WorkflowRequest.decode, SEED_REQUEST, {"message_id", "session_id", "message"}),
    "chunk": (ChunkBatch.decode, SEED_CHUNK, {"session_id", "message_id"}),
    "batch": (
        ChunkBatch.decode,
        {"session_id": "sess_456", "chunks": [SEED_CHUNK]},
        {"session_id", "chunks"},
    ),
    "heartbeat": (HeartbeatMessage.decode, SEED_HEARTBEAT, {"pod_id"}),
    "health": (HealthResponse.decode, SEED_HEALTH, {"pod_id"}),
}
"""Decoder, the seed's example, and the fields that can't be left out."""

MESSAGES = pytest.mark.parametrize(("decode", "example", "needed"), BY_NAME.values(), ids=BY_NAME)


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


# --- round trips -------------------------------------------------------------------------------------------------------


@given(REQUESTS)
@settings(deadline=None)
def test_a_request_survives_the_wire(request: WorkflowRequest) -> None:
    assert WorkflowRequest.decode(request.encode()) == request


@given(CHUNKS)
@settings(deadline=None)
def test_a_chunk_survives_the_wire_as_a_batch_of_one(chunk: ResponseChunk) -> None:
    assert ChunkBatch.decode(chunk.encode()) == ChunkBatch(chunk.session_id, (chunk,))


@given(batches())
@settings(deadline=None, max_examples=50)
def test_a_batch_survives_the_wire(batch: ChunkBatch) -> None:
    assert ChunkBatch.decode(batch.encode()) == batch


@given(heartbeats())
@settings(deadline=None)
def test_a_heartbeat_survives_the_wire(heartbeat: HeartbeatMessage) -> None:
    assert HeartbeatMessage.decode(heartbeat.encode()) == heartbeat


@given(HEALTH)
@settings(deadline=None)
def test_a_health_response_survives_the_wire(health: HealthResponse) -> None:
    assert HealthResponse.decode(health.encode()) == health


# --- the seed's shape --------------------------------------------------------------------------------------------------


def test_the_seeds_request_is_written_again_field_for_field() -> None:
    assert json.loads(WorkflowRequest.decode(encoded(SEED_REQUEST)).encode()) == SEED_REQUEST


def test_the_seeds_chunk_is_written_again_field_for_field() -> None:
    (chunk,) = ChunkBatch.decode(encoded(SEED_CHUNK)).chunks
    assert json.loads(chunk.encode()) == SEED_CHUNK


def test_the_seeds_error_chunk_is_written_again_field_for_field() -> None:
    failed = SEED_CHUNK | {"chunk_type": "error", "is_final": True, "error": {"code": "c", "message": "m"}}
    (chunk,) = ChunkBatch.decode(encoded(failed)).chunks
    assert json.loads(chunk.encode()) == failed


def test_a_batch_has_the_two_fields_of_the_seed_in_snake_case() -> None:
    body = {"session_id": "sess_456", "chunks": [SEED_CHUNK, SEED_CHUNK | {"chunk_id": 43}]}
    assert json.loads(ChunkBatch.decode(encoded(body)).encode()) == body


def test_a_pods_heartbeat_is_the_seeds_with_its_boot_and_status() -> None:
    written = json.loads(HeartbeatMessage.decode(encoded(SEED_HEARTBEAT)).encode())
    assert written == SEED_HEARTBEAT | {"boot": "", "status": "healthy"}


def test_a_workers_heartbeat_says_worker_id_models_and_generations() -> None:
    beat = HeartbeatMessage("worker", Token("w"), "t", boot="b", models=("count",), active_generations=2)
    assert json.loads(beat.encode()) == {
        "worker_id": "w",
        "timestamp": "t",
        "active_connections": 0,
        "memory_usage_mb": 0.0,
        "cpu_usage_percent": 0.0,
        "boot": "b",
        "status": "healthy",
        "models": ["count"],
        "active_generations": 2,
    }


def test_a_pods_health_is_the_seeds_with_its_boot() -> None:
    assert json.loads(HealthResponse.decode(encoded(SEED_HEALTH)).encode()) == SEED_HEALTH | {"boot": ""}


def test_a_workers_health_counts_generations_and_says_what_it_holds() -> None:
    health = HealthResponse("worker", Token("w"), "draining", 3, "t", boot="b", holding=False)
    assert json.loads(health.encode()) == {
        "worker_id": "w",
        "status": "draining",
        "active_generations": 3,
        "timestamp": "t",
        "boot": "b",
        "holding": False,
    }


# --- tolerance ---------------------------------------------------------------------------------------------------------


@MESSAGES
@given(value=JSON)
@settings(deadline=None, max_examples=20)
def test_unknown_fields_are_ignored(
    decode: Decode, example: dict[str, Any], needed: set[str], value: object
) -> None:
    assert decode(encoded({"a_new_field": value, **example})) == decode(encoded(example))


@MESSAGES
def test_every_optional_field_may_be_absent(
    decode: Decode, example: dict[str, Any], needed: set[str]
) -> None:
    decode(encoded({name: example[name] for name in needed}))


@MESSAGES
def test_null_is_the_same_as_absent(decode: Decode, example: dict[str, Any], needed: set[str]) -> None:
    least = {name: example[name] for name in needed}
    nulls = {name: None for name in example if name not in needed}
    assert decode(encoded(least | nulls)) == decode(encoded(least))


@MESSAGES
def test_a_needed_field_is_missed_by_name(decode: Decode, example: dict[str, Any], needed: set[str]) -> None:
    for name in needed - {"chunks"}:
        for body in (
            {key: value for key, value in example.items() if key != name},
            example | {name: None},
        ):
            with pytest.raises(ProtocolError, match=name):
                decode(encoded(body))


@MESSAGES
def test_the_tracing_envelope_is_taken_off(decode: Decode, example: dict[str, Any], needed: set[str]) -> None:
    traced = {"trace_id": "4bf92f35", "span_id": "00f067aa", "data": example}
    assert decode(encoded(traced)) == decode(encoded(example))


def test_a_batch_of_gos_untagged_struct_is_a_batch() -> None:
    tagged = ChunkBatch.decode(encoded({"session_id": "sess_456", "chunks": [SEED_CHUNK]}))
    assert ChunkBatch.decode(encoded({"SessionID": "sess_456", "Chunks": [SEED_CHUNK]})) == tagged


def test_a_batch_may_not_carry_another_sessions_chunk() -> None:
    body = {"session_id": "sess_456", "chunks": [SEED_CHUNK | {"session_id": "sess_457"}]}
    with pytest.raises(ProtocolError, match="session"):
        ChunkBatch.decode(encoded(body))


def test_an_empty_error_is_none() -> None:
    assert ResponseChunk.parse(SEED_CHUNK | {"error": {}}).error is None


# --- digest ------------------------------------------------------------------------------------------------------------


@given(request=REQUESTS, data=st.data())
@settings(deadline=None)
def test_the_order_of_context_keys_does_not_change_the_digest(
    request: WorkflowRequest, data: st.DataObject
) -> None:
    keys = data.draw(st.permutations(list(request.context)))
    shuffled = replace(request, context={key: request.context[key] for key in keys})
    assert shuffled.digest() == request.digest()


@given(request=REQUESTS, timestamp=TEXTS, correlation_id=TEXTS)
@settings(deadline=None, max_examples=30)
def test_times_and_traces_do_not_change_the_digest(
    request: WorkflowRequest, timestamp: str, correlation_id: str
) -> None:
    later = replace(request, timestamp=timestamp, correlation_id=correlation_id)
    assert later.digest() == request.digest()


@given(request=REQUESTS, other=TEXTS, context=OBJECTS)
@settings(deadline=None, max_examples=30)
def test_another_text_person_or_context_is_another_digest(
    request: WorkflowRequest, other: str, context: dict[str, Any]
) -> None:
    digest = request.digest()
    assert (replace(request, message=other).digest() == digest) == (other == request.message)
    assert (replace(request, user_id=other).digest() == digest) == (other == request.user_id)
    assert replace(request, context={**context, "added": 1, **request.context}).digest() != digest or (
        {**context, "added": 1, **request.context} == request.context
    )


def test_the_digest_survives_the_wire() -> None:
    request = WorkflowRequest.decode(encoded(SEED_REQUEST))
    assert WorkflowRequest.decode(request.encode()).digest() == request.digest()


@pytest.mark.parametrize(
    ("asked", "model"), [("count", "count"), ("", None), (None, None), (5, None), ([], None)]
)
def test_a_model_that_is_no_name_is_the_default_one(asked: object, model: str | None) -> None:
    assert WorkflowRequest.decode(encoded(SEED_REQUEST | {"context": {"model": asked}})).model == model
