"""`chat.pod.{id}.response` and `chat.session.*.broadcast`: dropped, counted, logged; readers lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from tests.hostile.support import (
    GARBAGE,
    WIRE,
    chunk,
    dropped,
    encode,
    good_message,
    record,
    wrong_types,
)
from tests.support import stored
from tests.support.models import HELD_TOKENS, gate
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SUBJECTS = ["chat.pod.p.response", "chat.session.s.broadcast"]

FOREIGN = [
    *GARBAGE.values(),
    *wrong_types(chunk(), needed={"session_id", "message_id"}),
    *[encode(chunk(chunk_id=wrong)) for wrong in (-1, 1.5, "0", True, [], 10**30)],
    *[encode(chunk(chunk=wrong)) for wrong in (5, [], {}, False)],
    *[encode(chunk(chunk_type=wrong)) for wrong in ("", "html", 5, [])],
    *[encode(chunk(is_final=wrong)) for wrong in ("true", 1, [])],
    *[encode(chunk(metadata=wrong)) for wrong in (5, "x", [])],
    *[encode(chunk(error=wrong)) for wrong in (5, "x", [], {"code": 5})],
    *[encode({"session_id": "s", "chunks": wrong}) for wrong in (5, "x", {}, [1], [None], [{}], [[]])],
    encode({"SessionID": "s", "Chunks": [chunk("another-session")]}),
    encode({"SessionID": 5, "Chunks": []}),
    encode({"session_id": "s", "chunks": [chunk(), chunk("another-session")]}),
]

OWN = [
    *wrong_types(record(), needed={"session_id", "message_id", "offset", "attempt", "token", "seq"}),
    *[encode(record(offset=offset)) for offset in (-1, 10**18, 2**63, 10**40, 1.0, "1", None, True)],
    *[encode(record(seq=seq)) for seq in (-1, 2**63, 10**40, "1", None)],
    *[encode(record(chunks=wrong)) for wrong in (5, "x", {}, None, [1], [None], [[]], ["x"])],
    encode(record(chunks=[{"a": 1}, 5])),
]


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_undecodable_messages_are_dropped_counted_and_logged_and_the_reader_loses_nothing(
    http: httpx.AsyncClient, nats_client: Client, logs: list[Any], subject: str
) -> None:
    bad = [(body, None) for body in FOREIGN] + [(body, WIRE) for body in OWN]
    if subject.startswith("chat.pod"):
        bad += [(body, WIRE) for body in GARBAGE.values()]
    else:
        # A chunk of ours without an offset is for other people's pods, so what has none is no record.
        bad = [(body, head) for body, head in bad if head is None or b'"offset":' in body]
    async with events(http, "s") as stream:
        await post(http, "s", model="count", max_tokens=80, tokens_per_second=200)
        await stream.read(5)
        before = dropped()
        for body, head in bad:
            await nats_client.publish(subject, body, headers=head)
        await nats_client.flush()
        await eventually(lambda: dropped() >= before + len(bad))
        reading = await stream.read_finals()
    assert reading.ids == list(range(81))
    assert all(event.id for event in reading.events)
    assert dropped() == before + len(bad)
    assert sum(line["event"] == "hub.dropped" for line in logs) == len(bad)
    await good_message(http)


@pytest.mark.parametrize("offset", [2, 1000, 10**18])
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_record_with_an_offset_far_ahead_costs_no_reader_a_chunk(
    http: httpx.AsyncClient, nats_client: Client, subject: str, offset: int
) -> None:
    """Readers that are there, that come later, and that want one message only."""
    message = encode(record(offset=offset + 100, seq=offset + 200))
    async with events(http, "s") as early:
        await nats_client.publish(subject, message, headers=WIRE)
        await nats_client.flush()
        go_on = gate()
        message_id = (await post(http, "s", model="held")).json()["message_id"]
        await early.read(5)
        await nats_client.publish(subject, message, headers=WIRE)
        await nats_client.flush()
        async with events(http, "s") as late, events(http, "s", message_id=message_id) as only:
            go_on.set()
            readings = [await stream.read_finals() for stream in (early, late, only)]
    assert [reading.ids for reading in readings] == [list(range(HELD_TOKENS + 1))] * 3
    assert not any(reading.named("reset") for reading in readings)
    await good_message(http)


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_records_of_offsets_long_gone_are_not_shown_again(
    http: httpx.AsyncClient, nats_client: Client, subject: str
) -> None:
    async with events(http, "s") as stream:
        for _ in range(3):
            await post(http, "s", model="count", max_tokens=3)
        await stream.read_finals(3)
        for offset in (0, 1, 2, 3):
            await nats_client.publish(subject, encode(record(offset=offset)), headers=WIRE)
        await post(http, "s", model="count", max_tokens=3)
        reading = await stream.read_finals(4)
    assert reading.ids == [0, 1, 2, 3] * 4
    assert not any(piece["message_id"] == "x" for piece in reading.chunks)


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_message_that_jetstream_was_made_to_deliver_to_a_live_subject_is_dropped(
    http: httpx.AsyncClient, nats_client: Client, subject: str
) -> None:
    """A reply subject is not checked against permissions: anybody who may read a stream can have it answer to a pod."""
    await good_message(http, "other")
    (first, *_) = await stored.records(nats_client, "other")
    async with events(http, "s") as stream, events(http, "other") as other:
        before = dropped()
        question = encode({"seq": first.seq})
        await nats_client.publish(
            f"$JS.API.DIRECT.GET.{stored.TRANSCRIPT}", question, reply="chat.pod.p.response"
        )
        await nats_client.publish(
            f"$JS.API.DIRECT.GET.{stored.TRANSCRIPT}", question, reply="chat.session.other.broadcast"
        )
        await nats_client.publish(subject, encode(chunk(is_final=True)), headers={"Nats-Stream": "X"} | WIRE)
        await eventually(lambda: dropped() == before + 3)
        await post(http, "s", model="count", max_tokens=3)
        await post(http, "other", model="count", max_tokens=3)
        readings = [await stream.read_finals(), await other.read_finals()]
    assert [reading.ids for reading in readings] == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("head", [None, WIRE], ids=["a chunk", "a record"])
async def test_broadcast_of_one_session_can_not_show_anything_in_another(
    http: httpx.AsyncClient, nats_client: Client, head: dict[str, str] | None
) -> None:
    body = chunk("s") if head is None else record("s")
    async with events(http, "s") as stream, events(http, "mine"):
        before = dropped()
        await nats_client.publish("chat.session.mine.broadcast", encode(body), headers=head)
        await eventually(lambda: dropped() == before + 1)
        await post(http, "s", model="count", max_tokens=3)
        reading = await stream.read_finals()
    assert reading.ids == [0, 1, 2, 3]
    assert "x" not in {piece["message_id"] for piece in reading.chunks}


async def test_flood_of_foreign_answers_keeps_bounded_state_and_the_true_answer_comes(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    """Holes without end, of answers without end: nothing is waited for beyond its bound."""
    numbers: Iterator[int] = count()
    async with events(http, "s", message_id="m") as stream:
        for _ in range(3000):
            number = next(numbers)
            body = encode(chunk(message_id=f"x{number % 50}", chunk_id=number * 7))
            await nats_client.publish("chat.session.s.broadcast", body)
        await nats_client.flush()
        await post(http, "s", model="count", max_tokens=3, message_id="m")
        reading = await stream.read_finals()
    assert reading.ids == [0, 1, 2, 3]
