"""A foreign worker answers: our readers see its chunks live, in order, once, and without a position."""

from __future__ import annotations

import random
from typing import Any

import pytest
from nats.aio.client import Client

from tests.foreign.peers import Encode, answer, batch, chunk, foreign_worker, go_batch, plain, traced
from tests.support.broker import Broker
from tests.support.live import Live
from tests.support.mesh import pod_and_client
from tests.support.reading import Reading, post

SUBJECTS = ["chat.pod.pod-1.response", "chat.session.s.broadcast"]


def assert_live(reading: Reading, ids: list[int]) -> None:
    """These chunks in this order, none with a position of its own."""
    assert reading.ids == ids
    assert not any(event.id and event.id != reading.events[0].id for event in reading.events)


async def publish(client: Client, subject: str, bodies: list[dict[str, Any]], encode: Encode = plain) -> None:
    for body in bodies:
        await client.publish(subject, encode(body))
    await client.flush()


@pytest.mark.parametrize("encode", [plain, traced])
@pytest.mark.parametrize("shape", ["single", "batch", "go batch"])
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_foreign_chunks_are_shown_live_in_order_without_a_position(
    broker: Broker, nats_client: Client, live: Live, subject: str, shape: str, encode: Encode
) -> None:
    chunks = answer("s", 10)
    pack = {"batch": batch, "go batch": go_batch}.get(shape)
    bodies = (
        chunks if pack is None else [pack("s", chunks[:1]), pack("s", chunks[1:7]), pack("s", chunks[7:])]
    )
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        position = stream.reading.position
        await publish(nats_client, subject, bodies, encode)
        reading = await stream.read_finals()
        assert reading.chunks == chunks
        assert_live(reading, list(range(10)))
        raw = [event.id for event in reading.events]
    assert len(set(raw)) == 1, "the position stays the one of the opening block"
    assert reading.position == position or not position


async def test_chunk_that_comes_by_both_subjects_is_shown_once(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        for piece in answer("s", 30):
            for subject in SUBJECTS:
                await nats_client.publish(subject, plain(piece))
        reading = await stream.read_finals()
        await publish(nats_client, SUBJECTS[0], answer("s", 30))
        await publish(nats_client, SUBJECTS[1], answer("s", 3, "next"))
        await stream.read_finals(2)
    assert reading.ids == [*range(30), *range(3)]


@pytest.mark.parametrize("seed", range(3))
async def test_shuffled_chunks_are_shown_in_order(
    broker: Broker, nats_client: Client, live: Live, seed: int
) -> None:
    first, *others = answer("s", 40)
    random.Random(seed).shuffle(others)  # noqa: S311 - the same order each time, no secret
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        await publish(nats_client, SUBJECTS[0], [first])
        for number, piece in enumerate(others):
            await nats_client.publish(SUBJECTS[number % 2], plain(piece))
        reading = await stream.read_finals()
    assert_live(reading, list(range(40)))


async def test_hole_that_is_never_filled_is_skipped(broker: Broker, nats_client: Client, live: Live) -> None:
    chunks = answer("s", 12)
    missing = {3, 4, 8}
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        await publish(
            nats_client, SUBJECTS[1], [piece for piece in chunks if piece["chunk_id"] not in missing]
        )
        reading = await stream.read_finals()
    assert_live(reading, [number for number in range(12) if number not in missing])


async def test_what_fills_a_hole_after_it_was_skipped_is_dropped(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    chunks = answer("s", 5)
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        await publish(nats_client, SUBJECTS[0], [chunks[0], chunks[2]])
        await stream.read(2)
        await publish(nats_client, SUBJECTS[0], [chunks[1], chunks[3], chunks[4]])
        reading = await stream.read_finals()
    assert_live(reading, [0, 2, 3, 4])


async def test_first_chunk_that_is_seen_is_the_base_and_what_lies_below_it_is_dropped(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    """A pod that came in mid-answer waits for nothing that it can't get."""
    chunks = answer("s", 10)
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        await publish(nats_client, SUBJECTS[0], [chunks[5], chunks[2], chunks[0], chunks[6], chunks[4]])
        await publish(nats_client, SUBJECTS[1], chunks[7:])
        reading = await stream.read_finals()
    assert_live(reading, [5, 6, 7, 8, 9])


async def test_final_ends_the_stream_of_one_message_and_no_other(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        live(client, "s", message_id="m1") as only,
        live(client, "s") as all_of_it,
    ):
        await publish(nats_client, SUBJECTS[0], answer("s", 3, "m2"))
        await publish(nats_client, SUBJECTS[0], answer("s", 4, "m1"))
        reading = await only.read_all()
        await publish(nats_client, SUBJECTS[1], answer("s", 2, "m3"))
        everything = await all_of_it.read_finals(3)
    assert_live(reading, [0, 1, 2, 3])
    assert everything.ids == [0, 1, 2, 0, 1, 2, 3, 0, 1]


async def test_foreign_error_ends_an_answer_with_its_code(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    error = {"code": "rate_limited", "message": "come back later"}
    final = chunk("s", 1, chunk="", chunk_type="error", is_final=True, error=error)
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        live(client, "s", message_id="msg_abc123") as stream,
    ):
        await publish(nats_client, SUBJECTS[0], [chunk("s", 0), final])
        reading = await stream.read_all()
    assert reading.chunks[-1]["error"] == error
    assert reading.chunks[-1]["chunk_type"] == "error"


async def test_absent_optional_fields_and_unknown_ones_are_accepted(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    bodies = [
        {"session_id": "s", "message_id": "m", "chunk_id": 0, "chunk": "a"},
        {
            "session_id": "s",
            "message_id": "m",
            "chunk_id": 1,
            "chunk": "b",
            "metadata": None,
            "error": None,
            "x": 1,
        },
        {"session_id": "s", "message_id": "m", "chunk_id": 2, "is_final": True},
    ]
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        live(client, "s", message_id="m") as stream,
    ):
        await publish(nats_client, SUBJECTS[0], bodies)
        reading = await stream.read_all()
    assert reading.text == "ab"
    assert all(piece["metadata"] == {} and piece["chunk_type"] == "content" for piece in reading.chunks)


async def test_answers_of_several_foreign_workers_do_not_disturb_each_other(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    answers = [answer("s", 20, f"m{number}") for number in range(5)]
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        for pieces in zip(*answers, strict=True):
            await publish(nats_client, SUBJECTS[0], list(pieces))
        reading = await stream.read_finals(5)
    for number in range(5):
        own = [piece["chunk_id"] for piece in reading.chunks if piece["message_id"] == f"m{number}"]
        assert own == list(range(20))


async def test_foreign_chunks_of_sessions_without_readers_here_are_ignored(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client), live(client, "s") as stream:
        await publish(nats_client, "chat.session.other.broadcast", answer("other", 5))
        await publish(nats_client, SUBJECTS[0], answer("other", 5))
        await publish(nats_client, SUBJECTS[0], answer("s", 5))
        reading = await stream.read_finals()
    assert {piece["session_id"] for piece in reading.chunks} == {"s"}
    assert_live(reading, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("pod_id", ["pod-1", None], ids=["to the pod", "by broadcast"])
async def test_foreign_worker_answers_what_was_posted_to_our_pod(
    broker: Broker, nats_client: Client, live: Live, pod_id: str | None
) -> None:
    """The deployment with one kind of worker, theirs: a core queue group on the stream's subject gets every request."""
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        foreign_worker(nats_client, pod_id) as worker,
        live(client, "s") as stream,
    ):
        accepted = (await post(client, "s", "Hello", model="gpt-4", user_id="user_789")).json()
        reading = await stream.read_finals()
    assert_live(reading, [0, 1, 2, 3, 4])
    assert {piece["message_id"] for piece in reading.chunks} == {accepted["message_id"]}
    (asked,) = worker.asked
    assert asked["message"] == "Hello"
    assert asked["user_id"] == "user_789"
    assert asked["session_id"] == "s"
    assert asked["context"]["model"] == "gpt-4"
    assert asked["correlation_id"] == accepted["correlation_id"]
    assert asked["timestamp"].endswith("Z")


async def test_two_foreign_workers_of_one_queue_group_share_what_our_pods_ask(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    second = await broker.connect()
    try:
        async with (
            pod_and_client(broker.url, "pod-1") as (_, client),
            foreign_worker(nats_client, "pod-1") as one,
            foreign_worker(second, "pod-1") as two,
        ):
            for number in range(20):
                async with live(client, f"s{number}") as stream:
                    await post(client, f"s{number}", model="gpt-4")
                    assert_live(await stream.read_finals(), [0, 1, 2, 3, 4])
    finally:
        await second.close()
    assert len(one.asked) + len(two.asked) == 20
    assert one.asked
    assert two.asked
