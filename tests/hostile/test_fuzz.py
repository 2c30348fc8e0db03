"""Anything at all, on every subject, over a real broker: then the next good message works."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from tests.hostile.support import (
    chunk,
    claim,
    encode,
    good_message,
    hpub,
    is_queue_empty,
    pub,
    raw,
    record,
    request,
)
from tests.support.broker import Broker
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

FUZZ = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    # One broker and one mesh for every example: what one of them breaks, the next one shows.
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
LONG = settings(FUZZ, max_examples=150, derandomize=False, print_blob=True)

NAMES = [
    "session_id",
    "message_id",
    "chunk_id",
    "chunk",
    "chunks",
    "Chunks",
    "SessionID",
    "offset",
    "seq",
    "token",
    "attempt",
    "boot",
    "pod_id",
    "worker_id",
    "data",
    "trace_id",
    "context",
    "message",
    "metadata",
    "is_final",
    "error",
    "released",
    "queue_seq",
    "models",
    "status",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["s", "m", "p", "a.b", "*", ">", "\ud800", "content", "error", "count"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
GOOD = [
    request(),
    chunk(),
    record(),
    claim(),
    {"session_id": "s", "chunks": [chunk()]},
    {"boot": "x"},
    {"pod_id": "q"},
]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A good body with a few fields of something else."""
    body = dict(draw(st.sampled_from(GOOD)))
    for name in draw(st.lists(st.sampled_from([*body, *NAMES]), min_size=1, max_size=3)):
        body[name] = draw(values)
    return json.dumps(body).encode()


bodies = (
    mutations()
    | values.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=64)
    | st.sampled_from([encode(body)[:-1] for body in GOOD])
)
header_values = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12
)
headers = st.none() | st.dictionaries(
    st.sampled_from(
        [
            "Chatmesh-Wire",
            "Status",
            "Description",
            "Nats-Sequence",
            "Nats-Subject",
            "Nats-Stream",
            "Nats-Num-Pending",
            "Nats-Last-Sequence",
            "Nats-Time-Stamp",
            "Nats-Marker-Reason",
            "traceparent",
            "Chatmesh-Reason",
        ]
    ),
    header_values | st.sampled_from(["1", "404", "503", "204", "0"]),
    max_size=3,
)
LIVE = ["chat.pod.p.response", "chat.session.s.broadcast", "chat.session.other.broadcast"]
READ = [
    *LIVE,
    "chat.pod.p.health",
    "chat.worker.p.health",
    "chat.pod.q.heartbeat",
    "chat.worker.q.heartbeat",
    "chat.registry.s.q",
    "chat.session.s.stop.x",
    "chat.workflow.execute.fuzz",
]


def messages(subjects: list[str]) -> st.SearchStrategy[list[tuple[str, bytes, Any]]]:
    return st.lists(st.tuples(st.sampled_from(subjects), bodies, headers), min_size=5, max_size=30)


async def flood(client: Client, batch: list[tuple[str, bytes, Any]]) -> None:
    for subject, body, head in batch:
        await client.publish(subject, body, headers=head)
    await client.flush()


async def no_crash_on_read_subjects(
    http: httpx.AsyncClient, client: Client, batch: list[tuple[str, bytes, Any]]
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", model="count", max_tokens=20)).json()["message_id"]
        await flood(client, batch)
        while not any(piece["message_id"] == message_id for piece in stream.reading.finals):
            await stream.next()
    good = [piece["chunk_id"] for piece in stream.reading.chunks if piece["message_id"] == message_id]
    assert good == list(range(21))


@FUZZ
@given(batch=messages(READ))
async def test_reader_and_worker_outlive_anything_on_the_subjects_they_read(
    http: httpx.AsyncClient, nats_client: Client, batch: list[tuple[str, bytes, Any]]
) -> None:
    await no_crash_on_read_subjects(http, nats_client, batch)


@pytest.mark.slow
@LONG
@given(batch=messages(READ))
async def test_reader_and_worker_outlive_anything_on_the_subjects_they_read_for_long(
    http: httpx.AsyncClient, nats_client: Client, batch: list[tuple[str, bytes, Any]]
) -> None:
    await no_crash_on_read_subjects(http, nats_client, batch)


@FUZZ
@given(batch=messages(["chat.session.s.transcript.x", "chat.session.s.erased", "chat.dead.s"]))
async def test_session_outlives_anything_in_its_transcript(
    http: httpx.AsyncClient, nats_client: Client, batch: list[tuple[str, bytes, Any]]
) -> None:
    await flood(nats_client, batch)
    await good_message(http)
    assert (await http.get("/v1/sessions/s/messages")).status_code == 200


@FUZZ
@given(
    garbage=st.lists(
        st.binary(max_size=40) | values.map(lambda value: json.dumps(value).encode()), max_size=10
    )
)
async def test_session_outlives_claims_that_are_none(
    http: httpx.AsyncClient, nats_client: Client, garbage: list[bytes]
) -> None:
    await flood(nats_client, [("chat.session.s.claim", body, None) for body in garbage])
    await good_message(http)


@FUZZ
@given(batch=messages(["chat.workflow.execute.s"]))
async def test_session_outlives_any_request(
    http: httpx.AsyncClient, nats_client: Client, batch: list[tuple[str, bytes, Any]]
) -> None:
    await flood(nats_client, batch)
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client), timeout=30)


raw_names = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(b" \t\r\n.*>"))
blocks = st.binary(min_size=1, max_size=60) | st.binary(max_size=60).map(lambda tail: b"NATS/1.0\r\n" + tail)


@FUZZ
@given(names=st.lists(raw_names, max_size=6), headers=st.lists(blocks, max_size=6))
async def test_connection_outlives_any_subject_and_any_header_block(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client, names: list[bytes], headers: list[bytes]
) -> None:
    patterns = (
        b"chat.session.%b.broadcast",
        b"chat.registry.s.%b",
        b"chat.pod.%b.heartbeat",
        b"chat.workflow.execute.%b",
    )
    lines = [pub(pattern % name, b"{}", reply=name) for pattern in patterns for name in names]
    lines += [hpub(b"chat.session.s.broadcast", block, b"{}") for block in headers]
    lines += [hpub(b"chat.workflow.execute.s", block, b"{}") for block in headers]
    await raw(broker.port, *lines)
    await good_message(http)
    await eventually(lambda: is_queue_empty(nats_client), timeout=30)
