"""A reader that is cut at random and goes on at another pod reads the transcript, byte for byte."""

from __future__ import annotations

import random

import httpx
import pytest
from nats.aio.client import Client

from tests.sse.test_beginning import opening
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import Reading, events, post

SEED = 20261123


async def read_with_cuts(clients: list[httpx.AsyncClient], resumes: int, chance: random.Random) -> Reading:
    """Reads the session's one answer, cut after 0 to 8 events each time, at one pod after the other."""
    reading = Reading()
    number = 0
    while not reading.finals:
        client = clients[number % len(clients)]
        async with events(client, "s", reading=reading) as stream:
            if number < resumes:
                await stream.read(chance.randrange(9))
            else:
                await stream.read_finals()
        number += 1
    assert number > resumes, f"the answer ended after {number} of {resumes} resumes"
    return reading


async def resumed(broker: Broker, nats_client: Client, resumes: int, tokens: int, pace: float) -> None:
    chance = random.Random(SEED)  # noqa: S311 - repeatable, no secret
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        answer = await post(one, "s", model="count", max_tokens=tokens, tokens_per_second=pace)
        assert answer.status_code == 202
        reading = await read_with_cuts([one, two], resumes, chance)
        transcript = await stored.chunks(nats_client, "s")
    assert not reading.named("reset")
    assert reading.ids == list(range(tokens + 1))
    assert reading.chunks == transcript
    assert reading.text == "".join(f"{number} " for number in range(1, tokens + 1))


@pytest.mark.slow
async def test_text_read_over_60_random_resumes_at_two_pods_is_the_transcript(
    broker: Broker, nats_client: Client
) -> None:
    await resumed(broker, nats_client, resumes=60, tokens=600, pace=300)


@pytest.mark.slow
async def test_text_read_over_1000_random_resumes_at_two_pods_is_the_transcript(
    broker: Broker, nats_client: Client
) -> None:
    await resumed(broker, nats_client, resumes=1000, tokens=9000, pace=400)


async def test_resume_at_every_single_position_gives_exactly_what_follows(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        events(one, "s") as stream,
    ):
        await post(one, "s", model="count", max_tokens=40, tokens_per_second=400)
        whole = await stream.read_finals()
        positions = [event.id for event in whole.events]
        assert len(set(positions)) == len(positions)
        for seen, position in enumerate(positions[:-1], 1):
            async with events((one, two)[seen % 2], "s", reading=Reading(position=position)) as rest:
                await rest.read_finals()
            assert rest.reading.chunks == whole.chunks[seen:]


async def test_reader_that_was_cut_over_three_answers_has_them_all_in_order(
    broker: Broker, nats_client: Client
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - repeatable, no secret
    reading = Reading()
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        # Cut before anything was said: the opening block has a position.
        reading.position, *_ = await opening(two, "s")
        for _ in range(3):
            await post(one, "s", model="count", max_tokens=50, tokens_per_second=400)
        number = 0
        while len(reading.finals) < 3:
            async with events((one, two)[number % 2], "s", reading=reading) as stream:
                for _ in range(chance.randrange(20)):
                    await stream.next()
                    if len(reading.finals) == 3:
                        break
            number += 1
        transcript = await stored.chunks(nats_client, "s")
    assert reading.chunks == transcript
    assert reading.ids == list(range(51)) * 3
