"""Workers that die, freeze, leave: the answer goes on, nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from tests.faults.support import (
    PATIENCE_SECONDS,
    StartWorker,
    assert_exact,
    assert_stored_exactly,
    claims,
    count_text,
    dead_letters,
    holder,
    read_on,
    wait_queue_empty,
)
from tests.support.processes import Process
from tests.support.reading import Reading, Stream, events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

# Slow enough to be hit in the middle, fast enough to end soon.
COUNT: dict[str, Any] = {"model": "count", "max_tokens": 60, "tokens_per_second": 20}


@pytest.fixture
async def workers(new_worker: StartWorker) -> dict[str, Process]:
    """Two workers, by id."""
    first, second = await asyncio.gather(new_worker("first"), new_worker("second"))
    return {"first": first, "second": second}


async def begin(http: httpx.AsyncClient, stream: Stream, session_id: str = "s") -> str:
    """Posts, and reads ten chunks: from then on the answer is in its middle. Returns the message id."""
    answer = await post(http, session_id, **COUNT)
    assert answer.status_code == 202
    await stream.read(10)
    return str(answer.json()["message_id"])


async def test_answer_goes_on_when_its_worker_is_killed(
    http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        workers[await holder(nats_client, "s")].kill()
        reading = await stream.read_finals()
    assert_exact(reading, 60)
    assert {chunk["message_id"] for chunk in reading.chunks} == {message_id}
    assert reading.chunks[0]["metadata"]["attempt"] == 1
    assert reading.finals[0]["metadata"]["attempt"] == 2
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 60)
    assert [claim["attempt"] for claim in await claims(nats_client, "s", message_id)] == [1, 2]


async def test_frozen_worker_that_wakes_can_not_write_any_more(
    http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        zombie = workers[await holder(nats_client, "s")]
        zombie.pause()

        async def is_taken_over() -> bool:
            return len(await claims(nats_client, "s", message_id)) == 2

        await eventually(is_taken_over, timeout=PATIENCE_SECONDS, message="a takeover")
        zombie.resume()
        reading = await stream.read_finals()
    await zombie.wait_for_line('"outcome": "lost"', stream="stderr")
    await wait_queue_empty(nats_client)
    assert_exact(reading, 60)
    await assert_stored_exactly(nats_client, "s", 60)
    assert [claim["attempt"] for claim in await claims(nats_client, "s", message_id)] == [1, 2]


async def test_worker_whose_loop_stalled_past_its_lease_is_asked_and_keeps_its_answer(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    patient = "worker.holder_timeout_seconds=30"
    first, second = await asyncio.gather(new_worker("first", patient), new_worker("second", patient))
    workers = {"first": first, "second": second}
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        stalled = await holder(nats_client, "s")
        questions = await nats_client.subscribe(f"chat.worker.{stalled}.health")
        await nats_client.flush()
        workers[stalled].pause()
        # The lease ends, the other one gets the request, and asks.
        while message_id.encode() not in (await questions.next_msg(timeout=PATIENCE_SECONDS)).data:
            continue
        workers[stalled].resume()
        reading = await stream.read_finals()
    assert_exact(reading, 60)
    assert len(await claims(nats_client, "s", message_id)) == 1
    await wait_queue_empty(nats_client)


async def test_worker_that_is_told_to_leave_finishes_its_answer(
    http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        leaving = workers[await holder(nats_client, "s")]
        leaving.signal(signal.SIGTERM)
        reading = await stream.read_finals()
    assert await leaving.wait(timeout=PATIENCE_SECONDS) == 0
    assert_exact(reading, 60)
    assert len(await claims(nats_client, "s", message_id)) == 1
    await wait_queue_empty(nats_client)


async def test_worker_that_may_not_finish_hands_its_answer_over(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    hasty = "worker.drain_seconds=0.3"
    first, second = await asyncio.gather(new_worker("first", hasty), new_worker("second", hasty))
    workers = {"first": first, "second": second}
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        leaving = workers[await holder(nats_client, "s")]
        assert await leaving.terminate(timeout=PATIENCE_SECONDS) == 0
        reading = await stream.read_finals()
    assert_exact(reading, 60)
    assert reading.finals[0]["metadata"]["attempt"] == 1
    found = await claims(nats_client, "s", message_id)
    assert [(claim["attempt"], claim["handed_over"]) for claim in found] == [
        (1, False),
        (1, True),
        (1, False),
    ]
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 60)


async def test_hand_over_uses_up_no_attempt(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    settings = ("worker.drain_seconds=0", "worker.max_attempts=1")
    ids = ["w1", "w2", "w3"]
    workers = dict(zip(ids, await asyncio.gather(*(new_worker(id, *settings) for id in ids)), strict=True))
    gone = []
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        for _ in range(2):
            leaving = await holder(nats_client, "s")
            workers[leaving].signal(signal.SIGTERM)
            gone.append(workers.pop(leaving))
            # What it had said may still come: read until the next one has the session.
            while await holder(nats_client, "s") == leaving:
                await stream.read(1)
        reading = await stream.read_finals()
    for each in gone:
        assert await each.wait(timeout=PATIENCE_SECONDS) == 0
    assert_exact(reading, 60)
    found = await claims(nats_client, "s", message_id)
    assert [(claim["attempt"], claim["handed_over"]) for claim in found] == [
        (1, False),
        *[(1, True), (1, False)] * 2,
    ]
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 60)


async def test_dead_worker_is_noticed_by_its_neighbour_long_before_its_lease_ends(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    long = "worker.ack_wait_seconds=60"  # longer than the reader's patience
    first, second = await asyncio.gather(new_worker("first", long), new_worker("second", long))
    workers = {"first": first, "second": second}
    async with events(http, "s") as stream:
        await begin(http, stream)
        dead = await holder(nats_client, "s")
        workers.pop(dead).kill()
        reading = await stream.read_finals()
    assert_exact(reading, 60)
    assert reading.finals[0]["metadata"]["attempt"] == 2
    (watcher,) = workers.values()
    line = await watcher.wait_for_line('"event": "presence.worker_lost"', stream="stderr")
    assert json.loads(line.string)["worker_id"] == dead
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 60)


async def test_worker_that_is_killed_as_soon_as_it_has_written_what_it_holds_is_followed_at_once(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    """Some hundredths of a second after it took the request, whatever of the answer there is by then."""
    long = "worker.ack_wait_seconds=60"  # longer than the reader's patience
    first, second = await asyncio.gather(new_worker("first", long), new_worker("second", long))
    workers = {"first": first, "second": second}
    async with events(http, "s") as stream, watching(nats_client, "chat.worker.*.leases") as pages:

        def strike() -> None:
            page = pages.bodies[-1]
            if page["leases"] and len(workers) == 2:
                workers.pop(page["worker_id"]).kill()

        pages.on_message = strike
        assert (await post(http, "s", **COUNT)).status_code == 202
        reading = await stream.read_finals()
    assert len(workers) == 1
    assert_exact(reading, 60)
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 60)


async def test_only_worker_that_was_killed_goes_on_at_once_when_it_is_started_again(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    long = "worker.ack_wait_seconds=60"
    async with events(http, "s") as stream:
        worker = await new_worker("same", long)
        await begin(http, stream)
        worker.kill()
        await new_worker("same", long)
        reading = await stream.read_finals()
    assert_exact(reading, 60)
    await wait_queue_empty(nats_client)


@pytest.mark.chaos
async def test_queued_messages_of_a_leaving_worker_go_to_another(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    leaving = await new_worker("first", "worker.drain_seconds=0.3")
    async with events(http, "s") as stream:
        await begin(http, stream)
        for _ in range(3):
            assert (await post(http, "s", model="count", max_tokens=3)).status_code == 202
        await new_worker("second")
        assert await leaving.terminate(timeout=PATIENCE_SECONDS) == 0
        reading = await stream.read_finals(4)
    assert reading.text == count_text(60) + 3 * count_text(3)
    await wait_queue_empty(nats_client)


async def test_message_that_kills_its_workers_ends_with_an_error_and_frees_its_session(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    once = "worker.max_attempts=1"
    doomed = await new_worker("doomed", once)
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        doomed.kill()
        await new_worker("next", once)
        reading = await stream.read_finals()
        final = reading.finals[0]
        assert final["chunk_type"] == "error"
        assert final["error"]["code"] == "attempts_exhausted"
        assert final["metadata"]["finish_reason"] == "error"
        assert reading.ids == list(range(len(reading.ids)))
        (letter,) = await dead_letters(nats_client)
        assert message_id.encode() in letter.data
        assert letter.subject == "chat.dead.s"
        await wait_queue_empty(nats_client)
        assert (await post(http, "s", "free again", model="echo")).status_code == 202
        reading = await stream.read_finals(2)
    assert reading.text.endswith("free again")


@pytest.mark.chaos
async def test_ten_messages_of_a_session_are_answered_in_order_over_four_workers_one_of_which_dies(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    ids = ["w1", "w2", "w3", "w4"]
    workers = dict(zip(ids, await asyncio.gather(*map(new_worker, ids)), strict=True))
    async with events(http, "s") as stream:
        posted = []
        for number in range(10):
            answer = await post(http, "s", f"answer-{number} " * 20, model="echo", tokens_per_second=40)
            assert answer.status_code == 202
            posted.append(answer.json()["message_id"])
        await stream.read(30)
        workers[await holder(nats_client, "s")].kill()
        reading = await stream.read_finals(10)
    assert [final["message_id"] for final in reading.finals] == posted
    assert [final["metadata"]["finish_reason"] for final in reading.finals] == ["stop"] * 10
    assert reading.text == "".join(f"answer-{number} " * 20 for number in range(10))
    began = list(dict.fromkeys(chunk["message_id"] for chunk in reading.chunks))
    assert began == posted
    await wait_queue_empty(nats_client)


@pytest.mark.chaos
async def test_answer_survives_two_workers_killed_one_after_the_other(
    http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    ids = ["w1", "w2", "w3"]
    workers = dict(zip(ids, await asyncio.gather(*map(new_worker, ids)), strict=True))
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        for more in (10, 1):
            first = await holder(nats_client, "s")
            workers[first].kill()
            await stream.read(more)
            # What was under way when it died may still come: read until the next one has the session.
            while await holder(nats_client, "s") == first:
                await stream.read(1)
        reading = await stream.read_finals()
    assert_exact(reading, 60)
    assert [claim["attempt"] for claim in await claims(nats_client, "s", message_id)] == [1, 2, 3]


@pytest.mark.chaos
async def test_reader_who_comes_after_the_takeover_sees_the_whole_answer_once(
    http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    async with events(http, "s") as stream:
        message_id = await begin(http, stream)
        workers[await holder(nats_client, "s")].kill()
        await stream.read_finals()
    assert_exact(await read_on(http, "s", Reading(), message_id=message_id), 60)
