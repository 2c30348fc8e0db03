"""Any value that a wire may carry, and the hostile ones that it must not."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from chatmesh.protocol.chunks import Chunks
from chatmesh.protocol.messages import (
    CHUNK_TYPES,
    ChunkBatch,
    HealthResponse,
    HeartbeatMessage,
    ResponseChunk,
    WorkflowRequest,
)
from chatmesh.protocol.positions import Scope
from chatmesh.protocol.records import Claim, Record
from chatmesh.protocol.tokens import Token

SCOPE = Scope("k3x9", Token("sess_1"))

HOSTILE = (
    "",
    "\0",
    "\x0b",
    "\r\n\r\ndata: forged\r\n\r\n",
    "\n\nid: 9\nevent: reset\ndata: {}\n\n",
    "\rdata: forged\r\r",
    "\u2028\u2029\u0085data: forged",
    "\ufeff: x",
    "a.b",
    "*",
    ">",
    "a b",
    "é",
    "٣",
    "abc\n",
    "x" * 5000,
    '"}\\',
    "\U0001f600",
)
"""What breaks careless writers of subjects, JSON or events. All of it may stand in a text."""

TOKENS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=128).map(Token)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE)
COUNTS = st.integers(0, 2**63 - 1)
PLACES = st.integers(0, 10**12 - 1)
"""Offsets and sequences: what a position can say."""
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)

REQUESTS = st.builds(
    WorkflowRequest,
    message_id=TOKENS,
    session_id=TOKENS,
    user_id=TEXTS,
    message=TEXTS,
    context=OBJECTS,
    timestamp=TEXTS,
    correlation_id=TEXTS,
)
_ERRORS = st.none() | st.fixed_dictionaries({"code": TEXTS, "message": TEXTS})


def chunks(session_ids: st.SearchStrategy[Token] = TOKENS) -> st.SearchStrategy[ResponseChunk]:
    return st.builds(
        ResponseChunk,
        session_id=session_ids,
        message_id=TOKENS,
        chunk_id=COUNTS,
        chunk=TEXTS,
        chunk_type=st.sampled_from(sorted(CHUNK_TYPES)),
        is_final=st.booleans(),
        metadata=OBJECTS,
        error=_ERRORS,
        timestamp=TEXTS,
        correlation_id=TEXTS,
    )


CHUNKS = chunks()


@st.composite
def batches(draw: st.DrawFn) -> ChunkBatch:
    session_id = draw(TOKENS)
    return ChunkBatch(session_id, tuple(draw(st.lists(chunks(st.just(session_id)), max_size=3))))


@st.composite
def heartbeats(draw: st.DrawFn) -> HeartbeatMessage:
    role = draw(st.sampled_from(["pod", "worker"]))
    is_worker = role == "worker"
    return HeartbeatMessage(
        role=role,
        id=draw(TOKENS),
        timestamp=draw(TEXTS),
        active_connections=draw(COUNTS),
        memory_usage_mb=draw(FLOATS),
        cpu_usage_percent=draw(FLOATS),
        boot=draw(TEXTS),
        status=draw(TEXTS),
        models=tuple(draw(st.lists(TEXTS, max_size=3))) if is_worker else (),
        active_generations=draw(COUNTS) if is_worker else 0,
        subscriptions=draw(st.none() | COUNTS),
    )


HEALTH = st.builds(
    HealthResponse,
    role=st.sampled_from(["pod", "worker"]),
    id=TOKENS,
    status=TEXTS,
    load=COUNTS,
    timestamp=TEXTS,
    boot=TEXTS,
    holding=st.none() | st.booleans(),
)
CLAIMS = st.builds(
    Claim,
    session_id=TOKENS,
    message_id=TOKENS,
    worker_id=TOKENS,
    boot=TEXTS,
    nonce=TEXTS,
    attempt=PLACES,
    base=PLACES,
    first=PLACES,
    offset=PLACES,
    timestamp=TEXTS,
    erases=st.booleans(),
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """As a worker writes them: whole chunks, perhaps none, perhaps behind a reset of the message or of all."""
    reset = draw(st.none() | TEXTS)
    return Record(
        session_id=Token("sess_1"),
        message_id=draw(TOKENS),
        offset=draw(st.integers(1, 10**12 - 1)),
        attempt=draw(PLACES),
        token=draw(PLACES),
        seq=draw(st.integers(1, 10**12 - 1)),
        chunks=Chunks([chunk.wire() for chunk in draw(st.lists(CHUNKS, max_size=4))]),
        request=draw(st.none() | OBJECTS),
        reset=reset,
        resets_all=reset is not None and draw(st.booleans()),
    )


def nested(depth: int) -> bytes:
    """JSON of that many arrays, one inside the other."""
    return b"[" * depth + b"]" * depth
