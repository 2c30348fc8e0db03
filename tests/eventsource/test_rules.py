"""What a stream promises to every reader, kept to four that others wrote: httpx-sse, npm's EventSource in Node, and
those of Chromium and Firefox. What can't be seen through an EventSource (`retry:`) stands for httpx-sse alone.

They wait for as long as `retry:` says before they ask again, so each reconnect takes one to three seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from nats.aio.client import Client
from prometheus_client import REGISTRY

from tests.eventsource.sources import Heard, Opens
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client, running
from tests.support.ports import free_port
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

EVENTS = "/v1/sessions/s/events"

LONG = 12_000
"""Chunks of about 270 bytes each: more than the kernel, a browser and its page hold of a stream that nobody takes."""

MIDDLE: dict[str, Any] = {"max_tokens": 120, "tokens_per_second": 25}
"""An answer in whose middle something happens: a browser on a busy machine shows its tenth chunk a second late."""

Asked = list[str | None]


@dataclass(frozen=True)
class Place:
    """A pod with a worker: `client` talks to it straight, an EventSource through `proxy`."""

    client: httpx.AsyncClient
    proxy: FaultProxy

    def url(self, query: str = "") -> str:
        return f"http://127.0.0.1:{self.proxy.port}{EVENTS}{query}"

    @property
    def straight(self) -> str:
        """Past the proxy, which holds megabytes for one who does not read."""
        return f"{self.client.base_url}{EVENTS}"

    async def ask(self, **body: object) -> str:
        """A question that is answered by counting; returns its id."""
        answer = await post(self.client, "s", **{"model": "count", "max_tokens": 20, **body})
        assert answer.status_code == 202
        message_id: str = answer.json()["message_id"]
        return message_id

    async def is_answered(self, message_id: str) -> bool:
        answer = await self.client.get(f"/v1/sessions/s/messages/{message_id}")
        return answer.status_code == 200 and answer.json()["status"] == "done"


@asynccontextmanager
async def place(broker: Broker, *settings: str) -> AsyncIterator[Place]:
    async with pod_and_client(broker.url, "x", *settings, role="all") as (mesh, client):
        assert mesh.server is not None
        async with FaultProxy(mesh.server.port) as proxy:
            yield Place(client, proxy)


def is_open(heard: Heard) -> bool:
    return heard.count("open") == 1


def has(chunks: int) -> Callable[[Heard], bool]:
    return lambda heard: len(heard.chunks) >= chunks


def has_finals(count: int) -> Callable[[Heard], bool]:
    return lambda heard: heard.finals >= count


async def assert_it_heard_the_transcript(heard: Heard, nats_client: Client, tokens: int) -> None:
    """Every chunk once, in order, and nothing else."""
    assert heard.ids == list(range(tokens + 1))
    assert heard.chunks == await stored.chunks(nats_client, "s")
    assert "".join(chunk["chunk"] for chunk in heard.chunks) == await stored.text(nats_client, "s")


async def position_in(client: httpx.AsyncClient, session_id: str) -> str:
    """The position at which a stream of the session opens."""
    async with client.stream("GET", f"/v1/sessions/{session_id}/events") as response:
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                return line.removeprefix("id: ")
    raise AssertionError("a stream without a position")


async def test_unknown_session_waits_and_its_first_message_is_heard(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker) as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.ask()
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 20)
    assert heard.count("error") == 0
    assert asked[0] is None


async def test_cut_in_mid_answer_sends_its_position_and_hears_exactly_the_rest(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker) as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.ask(**MIDDLE)
        await source.hears(has(10))
        at.proxy.cut()
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 120)
    first, second = asked
    assert first is None
    assert second
    assert heard.count("open") == 2
    assert not heard.named("reset")


@pytest.mark.slow
async def test_refused_for_a_while_tries_on_and_hears_exactly_the_rest(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker) as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.ask(**MIDDLE)
        await source.hears(has(10))
        await at.proxy.refuse()
        at.proxy.cut()
        await source.hears(lambda heard: heard.count("error") >= 2)
        await at.proxy.refuse(False)
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 120)
    assert len(asked) == 2
    assert asked[1]
    assert not heard.named("reset")


async def test_draining_pod_says_so_and_ends_and_the_next_one_tells_exactly_the_rest(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    port = free_port()
    address = f"http.port={port}"
    async with running(broker.url, role="worker", id="w"), AsyncExitStack() as stack:
        async with pod_and_client(broker.url, "pod-1", address) as (leaving, client):
            source = await stack.enter_async_context(opens(f"http://127.0.0.1:{port}{EVENTS}"))
            await source.hears(is_open)
            await post(client, "s", model="count", **MIDDLE)
            await source.hears(has(10))
            leaving.tree.drain()
            heard = await source.hears(lambda heard: heard.named("drain"))
            assert not heard.finals
        async with running(broker.url, address, role="pod", id="pod-2"):
            heard = await source.hears(has_finals(1))
            await assert_it_heard_the_transcript(heard, nats_client, 120)
    assert heard.named("drain") == [{"reason": "leaving"}]
    assert asked[0] is None
    assert all(asked[1:])
    assert not heard.named("reset")
    assert not heard.is_closed


async def test_position_that_is_none_is_told_a_reset_and_all_there_is_and_never_again(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    """The URL says it at every reconnect too; by then the source has a position of its own, and that one counts."""
    async with place(broker) as at:
        message_id = await at.ask()
        await eventually(lambda: at.is_answered(message_id))
        async with opens(at.url("?last_event_id=garbage")) as source:
            heard = await source.hears(has_finals(1))
            assert [event["type"] for event in heard.events[:3]] == ["open", "reset", "message"]
            assert heard.ids == list(range(21))
            at.proxy.cut()
            await at.ask()
            heard = await source.hears(has_finals(2))
        assert heard.ids == [*range(21), *range(21)]
        assert heard.chunks == await stored.chunks(nats_client, "s")
    assert [list(said) for said in heard.named("reset")] == [["reason"]]
    first, second = asked
    assert first is None
    assert second


async def test_position_of_another_session_is_told_a_reset_and_all_there_is(
    broker: Broker, nats_client: Client, opens: Opens
) -> None:
    async with place(broker) as at:
        message_id = await at.ask()
        await eventually(lambda: at.is_answered(message_id))
        foreign = await position_in(at.client, "another")
        async with opens(at.url(f"?last_event_id={foreign}")) as source:
            heard = await source.hears(has_finals(1))
            await assert_it_heard_the_transcript(heard, nats_client, 20)
    assert [event["type"] for event in heard.events[:3]] == ["open", "reset", "message"]
    assert heard.count("reset") == 1


async def test_cut_before_the_first_chunk_misses_nothing_of_an_answer_that_ended_meanwhile(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked, request: pytest.FixtureRequest
) -> None:
    """The opening block's id is kept, as WHATWG HTML has it: an event without data moves the position too. Firefox, which forgets
    it, is told again."""
    if request.node.callspec.params["opens"] == "node":
        forgets = "npm's eventsource 4.1.1 forgets the id of a block without data: its URL needs the position"
        request.applymarker(pytest.mark.xfail(strict=True, reason=forgets))
    async with place(broker) as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.proxy.refuse()
        at.proxy.cut()
        message_id = await at.ask()
        await eventually(lambda: at.is_answered(message_id))
        await at.proxy.refuse(False)
        await source.hears(lambda heard: heard.count("open") == 2)
        assert asked[-1]
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 20)


@pytest.mark.slow
async def test_cut_before_the_first_chunk_of_an_answer_that_still_runs_hears_it_whole(
    broker: Broker, nats_client: Client, opens: Opens
) -> None:
    """With a position or without: one who has none gets what is unfinished from its beginning."""
    async with place(broker) as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.proxy.refuse()
        at.proxy.cut()
        await at.ask(max_tokens=400, tokens_per_second=50)
        await eventually(lambda: stored.records(nats_client, "s"))
        await at.proxy.refuse(False)
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 400)


@pytest.mark.slow
async def test_keep_alives_show_nothing_and_move_no_position(
    broker: Broker, opens: Opens, asked: Asked
) -> None:
    async with place(broker, "sse.keepalive_seconds=0.2") as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.ask()
        before = await source.hears(has_finals(1))
        await keep_alives(at.client, 4)
        assert (await source.hears(has_finals(1))).events == before.events
        at.proxy.cut()
        await source.hears(lambda heard: heard.count("open") == 2)
    assert asked[-1] == before.positions[-1]


async def keep_alives(client: httpx.AsyncClient, count: int) -> None:
    """Until a stream that was opened just now had so many; one that was open before had no fewer."""
    async with client.stream("GET", "/v1/sessions/other/events") as response:
        async for line in response.aiter_lines():
            count -= line == ":"
            if not count:
                return


@pytest.mark.slow
async def test_position_that_has_expired_by_its_age_is_told_a_reset_and_all_there_is(
    broker: Broker, nats_client: Client, opens: Opens
) -> None:
    """Offsets count from 1 again then, so that the position's own number is there, as another record's."""
    async with place(broker, "streams.transcript_max_age_hours=0.002") as at:
        async with opens(at.url()) as source:
            await source.hears(is_open)
            await at.ask()
            expired = (await source.hears(has_finals(1))).positions[0]

        async def is_gone() -> bool:
            return not await stored.records(nats_client, "s")

        await eventually(is_gone, timeout=30)
        message_id = await at.ask()
        await eventually(lambda: at.is_answered(message_id))
        async with opens(at.url(f"?last_event_id={expired}")) as source:
            heard = await source.hears(has_finals(1))
    assert [event["type"] for event in heard.events[:3]] == ["open", "reset", "message"]
    assert heard.ids == list(range(21))
    assert {chunk["message_id"] for chunk in heard.chunks} == {message_id}


async def test_paused_reader_is_left_behind_and_hears_every_chunk_once(
    broker: Broker, nats_client: Client, opens: Opens
) -> None:
    """It takes nothing until the answer is over; by then its pod has long stopped to hold it for its sake."""
    before = left_behind()
    async with place(broker, "sse.max_buffer_bytes=16384") as at, opens(at.straight) as source:
        await source.hears(is_open)
        await source.pause()
        message_id = await at.ask(max_tokens=LONG)
        await eventually(lambda: at.is_answered(message_id), timeout=20)
        assert left_behind() > before
        await source.resume()
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, LONG)
    assert heard.count("open") == 1


def left_behind() -> float:
    return REGISTRY.get_sample_value("chatmesh_slow_readers_total") or 0.0


async def test_retry_is_in_its_range_and_differs_from_connection_to_connection(broker: Broker) -> None:
    async with place(broker) as at:
        told = [await _retry(at) for _ in range(20)]
    assert all(1000 <= retry <= 3000 for retry in told)
    assert len(set(told)) > 10


async def _retry(at: Place) -> int:
    async with aconnect_sse(at.client, "GET", EVENTS) as stream:
        retry = (await anext(stream.aiter_sse())).retry
    assert retry is not None
    return retry


async def test_cut_before_the_first_chunk_of_a_url_with_a_position_misses_nothing(
    broker: Broker, nats_client: Client, opens: Opens
) -> None:
    """What a page does that has read the history: the URL says where it goes on, at every reconnect again."""
    async with place(broker) as at:
        position = await position_in(at.client, "s")
        async with opens(at.url(f"?last_event_id={position}")) as source:
            await source.hears(is_open)
            await at.proxy.refuse()
            at.proxy.cut()
            message_id = await at.ask()
            await eventually(lambda: at.is_answered(message_id))
            await at.proxy.refuse(False)
            heard = await source.hears(has_finals(1))
            await assert_it_heard_the_transcript(heard, nats_client, 20)
    assert not heard.named("reset")


async def test_stream_of_one_message_that_has_ended_is_closed_for_good(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker) as at, opens(at.url("?message_id=m")) as source:
        await source.hears(is_open)
        await at.ask(message_id="m")
        heard = await source.hears(lambda heard: heard.is_closed)
        await assert_it_heard_the_transcript(heard, nats_client, 20)
    assert heard.count("open") == 1, "the second answer was a 204"
    assert len(asked) == 2
    assert asked[1]


async def test_session_id_that_is_none_is_closed_for_good(broker: Broker, opens: Opens) -> None:
    async with place(broker) as at, opens(at.url().replace("/s/", "/a.b/")) as source:
        heard = await source.hears(lambda heard: heard.is_closed)
    assert [event["type"] for event in heard.events] == ["error"]


@pytest.mark.slow
async def test_past_max_connections_it_asks_until_there_is_room(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker, "sse.max_connections=1") as at, AsyncExitStack() as other:
        await other.enter_async_context(events(at.client, "other"))
        async with opens(at.url()) as source:
            await source.hears(lambda heard: heard.count("open") >= 2 and heard.count("error") >= 2)
            await other.aclose()
            await at.ask(max_tokens=400, tokens_per_second=50)
            heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 400)
    assert heard.count("open") == len(asked) - 1, "every one but that of `other` was a 200"


@pytest.mark.slow
async def test_while_the_broker_is_away_it_asks_until_there_is_one(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker) as at:
        broker.kill()
        await eventually(lambda: _is_away(at.client))
        async with opens(at.url()) as source:
            await source.hears(lambda heard: heard.count("open") >= 2)
            await broker.launch()
            await eventually(lambda: is_ready(at.client))
            await at.ask(max_tokens=400, tokens_per_second=50)
            heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 400)
    assert heard.count("open") == len(asked)
    assert not heard.is_closed


@pytest.mark.slow
async def test_cut_five_times_in_an_answer_hears_every_chunk_once(
    broker: Broker, nats_client: Client, opens: Opens, asked: Asked
) -> None:
    async with place(broker) as at, opens(at.url()) as source:
        await source.hears(is_open)
        await at.ask(max_tokens=2000, tokens_per_second=100)
        for number in range(1, 6):
            seen = len((await source.hears(lambda heard, n=number: heard.count("open") == n)).chunks)
            await source.hears(has(seen + 1))
            at.proxy.cut()
        heard = await source.hears(has_finals(1))
        await assert_it_heard_the_transcript(heard, nats_client, 2000)
    assert len(asked) == 6
    assert all(asked[1:])


async def _is_away(client: httpx.AsyncClient) -> bool:
    return not await is_ready(client)
