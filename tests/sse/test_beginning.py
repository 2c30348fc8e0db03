"""How a stream begins: the opening block, what it shows without a position, and what becomes of a position."""

from __future__ import annotations

import re

import httpx
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.models import HELD_TOKENS, gate, models
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

OPENING = re.compile(r": open\nid: (\S+)\nretry: (\d+)\n\n")


async def opening(client: httpx.AsyncClient, session_id: str) -> tuple[str, int, httpx.Response]:
    """Position and retry of a stream's first block, and the response it came in."""
    async with client.stream("GET", f"/v1/sessions/{session_id}/events") as response:
        text = ""
        async for part in response.aiter_text():
            text += part
            if "\n\n" in text:
                break
        match = OPENING.fullmatch(text)
        assert match, text
        return match[1], int(match[2]), response


async def answered(client: httpx.AsyncClient, session_id: str, **body: object) -> Reading:
    """Posts a message and reads its answer to the end."""
    async with events(client, session_id) as stream:
        accepted = await post(client, session_id, **{"model": "count", "max_tokens": 20, **body})
        assert accepted.status_code == 202
        return await stream.read_finals()


async def test_opening_block_has_an_id_and_a_retry_and_no_data(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x") as (_, client):
        position, retry, response = await opening(client, "s")
    assert position
    assert 500 <= retry <= 10_000
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Request-Id"]


async def test_retry_differs_from_connection_to_connection(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x") as (_, client):
        retries = {(await opening(client, "s"))[1] for _ in range(12)}
    assert len(retries) > 4


async def test_every_chunk_is_an_unnamed_event_of_one_line_with_a_position_of_its_own(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        message = "line\none\r\ntwo\rthree\u2028four\n\ndata: forged\n\nid: 1\n\nevent: reset\n\n"
        reading = await answered(client, "s", message=message, model="echo", max_tokens=100)
    assert reading.text == message
    assert {event.event for event in reading.events} == {"message"}
    assert len({event.id for event in reading.events}) == len(reading.events)


async def test_without_a_position_the_unfinished_answer_comes_from_its_beginning_and_then_live(
    broker: Broker,
) -> None:
    async with pod_and_client(broker.url, "x", models("held"), role="all") as (_, client):
        await answered(client, "s", message="an earlier one")
        go_on = gate()
        async with events(client, "s") as first:
            accepted = await post(client, "s", model="held")
            await first.read(5)
            async with events(client, "s") as late:
                await late.read(5)
                go_on.set()
                reading = await late.read_finals()
    assert {chunk["message_id"] for chunk in reading.chunks} == {accepted.json()["message_id"]}
    assert reading.ids == list(range(HELD_TOKENS + 1))


async def test_without_a_position_finished_answers_are_not_shown_again(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await answered(client, "s", message="first")
        second = await answered(client, "s", message="second")
    assert second.ids == list(range(21))


async def test_from_start_replays_all_that_is_kept_and_then_live(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        for number in range(3):
            await answered(client, "s", message=f"message {number}")
        async with events(client, "s", **{"from": "start"}) as stream:
            await stream.read_finals(3)
            await post(client, "s", model="count", max_tokens=5)
            reading = await stream.read_finals(4)
        assert reading.chunks == await stored.chunks(nats_client, "s")


async def test_stream_of_one_message_shows_only_that_one_and_ends_after_its_final(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await answered(client, "s", message_id="one")
        await answered(client, "s", message_id="two")
        for message_id in ("one", "two"):
            async with events(client, "s", message_id=message_id) as stream:
                reading = await stream.read_all()
            assert {chunk["message_id"] for chunk in reading.chunks} == {message_id}
            assert reading.ids == list(range(21))


async def test_stream_of_a_message_that_is_queued_or_unknown_waits_for_it(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "x", role="all") as (_, client),
        events(client, "s", message_id="third") as stream,
    ):
        for message_id in ("first", "second", "third", "fourth"):
            await post(
                client, "s", message_id=message_id, model="count", max_tokens=20, tokens_per_second=500
            )
        reading = await stream.read_all()
    assert {chunk["message_id"] for chunk in reading.chunks} == {"third"}
    assert reading.ids == list(range(21))


async def test_reconnect_to_a_finished_message_is_204(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await answered(client, "s", message_id="one")
        async with events(client, "s", message_id="one") as stream:
            reading = await stream.read_all()
        async with events(client, "s", reading=reading, message_id="one") as again:
            assert again.response.status_code == 204
            assert again.response.headers["X-Request-Id"]
        async with events(
            client, "s", reading=Reading(position=reading.events[-2].id), message_id="one"
        ) as rest:
            assert rest.response.status_code == 200
            await rest.read_all()
    assert rest.reading.ids == [20]


async def test_last_event_id_header_beats_the_query(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        whole = await answered(client, "s")
        fifth, tenth = whole.events[4].id, whole.events[9].id
        async with events(client, "s", reading=Reading(position=tenth), last_event_id=fifth) as stream:
            assert (await stream.read_finals()).chunks == whole.chunks[10:]
        async with events(client, "s", last_event_id=fifth) as stream:
            assert (await stream.read_finals()).chunks == whole.chunks[5:]
        async with events(client, "s", last_event_id=fifth, **{"from": "start"}) as stream:
            assert (await stream.read_finals()).chunks == whole.chunks[5:], "a position beats from=start"


def spoiled(position: str) -> dict[str, str]:
    """A position of five fields (opaque to clients, and an attacker counts them), spoiled in every way."""
    epoch, offset, index, seq, tail = position.split(".")
    return {
        "malformed": "no position",
        "too long": "1" * 5000,
        "not ascii": "%D9%A1.1.1.1.00000000",
        "cut": position[:-1],
        "of another epoch": f"{epoch}0.{offset}.{index}.{seq}.{tail}",
        "offset in the future": f"{epoch}.{int(offset) + 1000}.{index}.{seq}.{tail}",
        "offset and sequence in the future": f"{epoch}.{int(offset) + 1000}.1.{int(seq) + 1000}.{tail}",
        "sequence in the future": f"{epoch}.{offset}.{index}.{int(seq) + 1000}.{tail}",
        "index in the future": f"{epoch}.{offset}.{int(index) + 500}.{seq}.{tail}",
        "huge numbers": f"{epoch}.999999999999.999999.999999999999999.{tail}",
        "of a record that another offset has": f"{epoch}.{int(offset) + 1}.{index}.1.{tail}",
    }


async def test_position_that_nobody_gave_is_answered_with_reset_and_then_what_is_there(
    broker: Broker,
) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        whole = await answered(client, "s")
        for way, bad in spoiled(whole.events[4].id).items():
            async with events(client, "s", last_event_id=bad) as stream:
                assert stream.response.status_code == 200
                reading = await stream.read_finals()
            assert [reset["reason"] for reset in reading.named("reset")] == ["position_unknown"], way
            assert reading.events[0].event == "reset"
            assert reading.chunks == whole.chunks, way


async def test_position_of_another_session_is_answered_with_reset(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        other = await answered(client, "other")
        whole = await answered(client, "s")
        async with events(client, "s", last_event_id=other.position) as stream:
            reading = await stream.read_finals()
    assert len(reading.named("reset")) == 1
    assert reading.chunks == whole.chunks


async def test_expired_position_is_answered_with_reset_and_what_is_still_there(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        first = await answered(client, "s", message="first")
        second = await answered(client, "s", message="second")
        last = (await stored.records(nats_client, "s", first.chunks[0]["message_id"]))[-1].seq
        await stored.api(nats_client, "STREAM.PURGE.CHAT_TRANSCRIPT", {"seq": last + 1})
        async with events(client, "s", last_event_id=first.events[4].id) as stream:
            reading = await stream.read_finals()
        message_id = second.chunks[0]["message_id"]
        async with events(client, "s", last_event_id=first.position, message_id=message_id) as stream:
            later = await stream.read_all()
    assert [reset["reason"] for reset in reading.named("reset")] == ["position_expired"]
    assert reading.chunks == second.chunks
    assert later.chunks == second.chunks
    assert not later.named("reset"), "of this message nothing has expired"


async def test_position_within_a_record_that_has_expired_is_answered_with_reset(
    broker: Broker, nats_client: Client
) -> None:
    """The next record is there, but the rest of this one is not: going on there would be a silent hole."""
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        whole = await answered(client, "s", message_id="m", max_tokens=300)
        first, second, *kept = await stored.records(nats_client, "s")
        await stored.api(nats_client, "STREAM.PURGE.CHAT_TRANSCRIPT", {"seq": second.seq + 1})
        position = whole.events[len(first.body["chunks"]) + 5].id
        async with events(client, "s", last_event_id=position) as stream:
            of_session = await stream.read_finals()
        async with events(client, "s", last_event_id=position, message_id="m") as stream:
            of_message = await stream.read_all()
    for reading in (of_session, of_message):
        assert [reset["reason"] for reset in reading.named("reset")] == ["position_expired"]
        assert reading.chunks == [chunk for record in kept for chunk in record.body["chunks"]]


async def test_everything_expired_is_a_reset_and_the_next_answer_is_shown(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        whole = await answered(client, "s")
        await stored.api(nats_client, "STREAM.PURGE.CHAT_TRANSCRIPT")
        async with events(client, "s", last_event_id=whole.events[4].id) as stream:
            assert (await stream.next()).event == "reset"
            await post(client, "s", "another", model="count", max_tokens=5)
            reading = await stream.read_finals()
    assert reading.text == "1 2 3 4 5 "


async def test_reset_moves_the_position_so_that_the_next_reconnect_is_exact(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        whole = await answered(client, "s")
        async with events(client, "s", last_event_id="nonsense") as stream:
            await stream.next()
        async with events(client, "s", reading=stream.reading) as again:
            reading = await again.read_finals()
    assert len(reading.named("reset")) == 1
    assert reading.chunks == whole.chunks


async def test_positions_of_a_transcript_that_was_made_anew_are_foreign(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (mesh, client):
        await answered(client, "s")
        old = await answered(client, "s", message="second")
        generation = mesh.broker.layout.generation
        async with events(client, "s") as told:
            await stored.api(nats_client, "STREAM.DELETE.CHAT_TRANSCRIPT")
            await post(
                client, "other", model="count", max_tokens=1
            )  # the worker finds that the stream is gone
            await eventually(lambda: mesh.broker.layout.generation != generation)
            # Every stream ends a moment later, that of somebody who comes in between too.
            await told.read_all()
        whole = await answered(client, "s", message="third", max_tokens=7)
        async with events(client, "s", last_event_id=old.events[2].id) as stream:
            reading = await stream.read_finals()
    assert len(reading.named("reset")) == 1
    assert reading.chunks == whole.chunks


async def test_unknown_session_waits_and_gets_its_first_message(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        events(two, "not-yet") as stream,
    ):
        assert stream.response.status_code == 200
        await post(one, "not-yet", model="count", max_tokens=10)
        reading = await stream.read_finals()
    assert reading.ids == list(range(11))


async def test_id_that_is_none_is_final_422(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x") as (_, client):
        for path in ("a.b/events", "*/events", "%3E/events", "a%0bb/events", "s/events?message_id=a.b"):
            answer = await client.get(f"/v1/sessions/{path}")
            assert answer.status_code == 422
            assert answer.json()["code"] == "invalid_id"
