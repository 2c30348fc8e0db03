"""Whatever comes from outside: a good value, or ProtocolError and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext, sse
from chatmesh.protocol.messages import ChunkBatch, HealthResponse, HeartbeatMessage, WorkflowRequest
from chatmesh.protocol.records import Claim, Record
from tests.protocol.test_messages import (
    SEED_CHUNK,
    SEED_HEALTH,
    SEED_HEARTBEAT,
    SEED_REQUEST,
    encoded,
)
from tests.protocol.values import HOSTILE, JSON, SCOPE, nested

CLAIM: dict[str, Any] = {
    "session_id": "s",
    "message_id": "m",
    "worker_id": "w",
    "boot": "b",
    "nonce": "n",
    "attempt": 1,
    "base": 0,
    "first": 0,
    "offset": 0,
    "timestamp": "t",
}
RECORD: dict[str, Any] = {
    "session_id": "s",
    "message_id": "m",
    "offset": 1,
    "attempt": 1,
    "token": 1,
    "seq": 2,
    "request": {"message": "hi"},
    "reset": "worker_changed",
    "chunks": [SEED_CHUNK],
}
WORKER = {"worker_id": "w", "models": ["count"], "active_generations": 1, "status": "healthy", "boot": "b"}


def _shown(data: bytes) -> Any:
    return sse.events(Record.decode(data), SCOPE)


def _written(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    return lambda data: decode(data).encode()


READERS: dict[str, tuple[Callable[[bytes], Any], dict[str, Any]]] = {
    "request": (_written(WorkflowRequest.decode), SEED_REQUEST),
    "chunk": (_written(ChunkBatch.decode), SEED_CHUNK),
    "batch": (_written(ChunkBatch.decode), {"session_id": "sess_456", "chunks": [SEED_CHUNK]}),
    "pod heartbeat": (_written(HeartbeatMessage.decode), SEED_HEARTBEAT),
    "worker heartbeat": (_written(HeartbeatMessage.decode), SEED_HEARTBEAT | WORKER),
    "health": (_written(HealthResponse.decode), SEED_HEALTH),
    "worker health": (_written(HealthResponse.decode), WORKER | {"holding": True}),
    "claim": (_written(Claim.decode), CLAIM),
    "record": (_shown, RECORD),
}
"""Each reads a message and writes what it took: what passes can be written again."""

EVERY_READER = pytest.mark.parametrize(("read", "good"), READERS.values(), ids=READERS)
Read = Callable[[bytes], Any]


def taken_or_refused(read: Read, data: bytes) -> bool:
    """Whether it was taken. Any other exception goes through and fails the test."""
    try:
        read(data)
    except ProtocolError:
        return False
    return True


@EVERY_READER
def test_the_example_is_taken(read: Read, good: dict[str, Any]) -> None:
    assert taken_or_refused(read, encoded(good))


@EVERY_READER
@given(data=st.binary(max_size=60))
@settings(deadline=None, max_examples=50)
def test_no_bytes_raise_anything_else(read: Read, good: dict[str, Any], data: bytes) -> None:
    taken_or_refused(read, data)


@EVERY_READER
@given(value=JSON)
@settings(deadline=None, max_examples=50)
def test_no_json_raises_anything_else(read: Read, good: dict[str, Any], value: object) -> None:
    taken_or_refused(read, encoded(value))


@EVERY_READER
@given(value=JSON, data=st.data())
@settings(deadline=None, max_examples=100)
def test_no_value_in_any_field_raises_anything_else(
    read: Read, good: dict[str, Any], value: object, data: st.DataObject
) -> None:
    taken_or_refused(read, encoded(good | {data.draw(st.sampled_from(sorted(good))): value}))


@EVERY_READER
@given(cut=st.integers(0, 2000))
@settings(deadline=None, max_examples=20)
def test_a_message_cut_short_is_refused(read: Read, good: dict[str, Any], cut: int) -> None:
    whole = encoded(good)
    assert not taken_or_refused(read, whole[: cut % len(whole)])


@EVERY_READER
@pytest.mark.parametrize("depth", [33, 254, 255, 300, 1000, 1024, 5000])
def test_deep_nesting_is_refused_or_can_be_written_again(
    read: Read, good: dict[str, Any], depth: int
) -> None:
    whole = encoded(good)[:-1] + b',"deep":' + nested(depth) + b"}"
    taken = taken_or_refused(read, whole)
    assert not taken or good is RECORD


@pytest.mark.parametrize("depth", [300, 1000])
def test_a_deep_chunk_among_many_does_not_slip_through(depth: int) -> None:
    chunks = b"{}," * 5000 + b'{"deep":' + nested(depth) + b"}"
    body = encoded(RECORD | {"chunks": []})[:-3] + b"[" + chunks + b"]}"
    assert not taken_or_refused(_shown, body)


def test_thirty_two_levels_are_taken_and_thirty_three_are_not() -> None:
    assert jsontext.decode(nested(32), "it")
    with pytest.raises(ProtocolError, match="deeper than 32"):
        jsontext.decode(nested(33), "it")


@EVERY_READER
@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"1.", b"0x1", b"\xff", b"'x'"]
)
def test_what_is_no_json_number_is_refused(read: Read, good: dict[str, Any], number: bytes) -> None:
    assert not taken_or_refused(read, encoded(good)[:-1] + b',"n":' + number + b"}")


@EVERY_READER
@pytest.mark.parametrize("surrogate", [rb"\ud800", rb"\udfff", rb"\ud800\u0041", rb"\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused(read: Read, good: dict[str, Any], surrogate: bytes) -> None:
    assert not taken_or_refused(read, encoded(good)[:-1] + b',"n":"' + surrogate + b'"}')


WRONG: dict[str, list[object]] = {
    "a number": [True, "1", [], {}, 1.5, -1, 10**30],
    "a text": [True, 5, 1.5, [], {}],
    "an object": [True, 5, "x", []],
    "a flag": [0, 1, "true", [], {}],
    "a token": [None, True, 5, [], {}, *(text for text in HOSTILE), "x" * 129],
}
FIELDS: dict[str, dict[str, list[str]]] = {
    "request": {
        "a token": ["session_id", "message_id"],
        "a text": ["user_id", "message", "timestamp", "correlation_id"],
        "an object": ["context"],
    },
    "chunk": {
        "a token": ["session_id", "message_id"],
        "a number": ["chunk_id"],
        "a text": ["chunk", "chunk_type", "timestamp", "correlation_id"],
        "a flag": ["is_final"],
        "an object": ["metadata", "error"],
    },
    "pod heartbeat": {"a token": ["pod_id"], "a number": ["active_connections"], "a text": ["timestamp"]},
    "worker heartbeat": {"a token": ["worker_id"], "a number": ["active_generations"], "a text": ["boot"]},
    "health": {"a token": ["pod_id"], "a number": ["active_connections"], "a text": ["status"]},
    "worker health": {"a number": ["active_generations"]},
    "claim": {
        "a token": ["session_id", "message_id", "worker_id"],
        "a number": ["attempt", "base", "first", "offset"],
        "a text": ["boot", "nonce", "timestamp"],
    },
    "record": {
        "a token": ["session_id", "message_id"],
        "a number": ["offset", "attempt", "token", "seq"],
        "an object": ["chunks"],
    },
}


@pytest.mark.parametrize(
    ("reader", "name", "value"),
    [
        pytest.param(reader, name, value, id=f"{reader}-{name}-{value!r:.12}-{number}")
        for reader, kinds in FIELDS.items()
        for kind, names in kinds.items()
        for name in names
        for number, value in enumerate(WRONG[kind])
        if (name, value) != ("chunks", [])
    ],
)
def test_a_value_of_the_wrong_type_is_refused(reader: str, name: str, value: object) -> None:
    read, good = READERS[reader]
    assert not taken_or_refused(read, encoded(good | {name: value}))


@pytest.mark.parametrize("value", ["1", True, [], {}])
@pytest.mark.parametrize("name", ["memory_usage_mb", "cpu_usage_percent"])
def test_a_measure_that_is_no_number_is_refused(name: str, value: object) -> None:
    assert not taken_or_refused(_written(HeartbeatMessage.decode), encoded(SEED_HEARTBEAT | {name: value}))


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_may_be_said(text: str) -> None:
    request = WorkflowRequest.decode(encoded(SEED_REQUEST | {"message": text, "correlation_id": text}))
    assert (request.message, request.correlation_id) == (text, text)


@pytest.mark.parametrize("said", [["a secret"], {"text": "a secret"}])
def test_a_refusal_repeats_nothing_of_what_people_wrote(said: object) -> None:
    for name in ("message", "user_id", "context" if isinstance(said, list) else "message"):
        with pytest.raises(ProtocolError) as caught:
            WorkflowRequest.decode(encoded(SEED_REQUEST | {name: said}))
        assert "secret" not in str(caught.value)


def test_json_of_a_message_is_ours_on_one_line() -> None:
    for text in HOSTILE:
        data = WorkflowRequest.decode(encoded(SEED_REQUEST | {"message": text})).encode()
        assert not any(byte < 0x20 for byte in data)
        assert json.loads(data)["message"] == text
