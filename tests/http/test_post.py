"""POST a message: what is answered when it is accepted, at once or as the answer itself."""

from __future__ import annotations

import httpx
import pytest
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.proxy import FaultProxy
from tests.support.reading import Reading, Stream, events, post
from tests.support.watching import watching

INLINE = {"Accept": "text/event-stream"}


async def inline(
    client: httpx.AsyncClient, session_id: str, **body: object
) -> tuple[httpx.Response, Reading]:
    """The whole answer in the answer to its POST."""
    content = {"message": "go", "context": {"model": "count", "max_tokens": 30}, **body}
    url = f"/v1/sessions/{session_id}/messages"
    async with client.stream("POST", url, json=content, headers=INLINE) as response:
        assert response.status_code == 200, await response.aread()
        return response, await Stream(response, Reading()).read_all()


async def test_accepted_is_202_with_ids_and_where_to_read_on(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        answer = await post(client, "s", "hello", user_id="u", correlation_id="corr_1")
        (request,) = await stored.queued(nats_client, "s")
    assert answer.status_code == 202
    body = answer.json()
    message_id = body["message_id"]
    assert body == {
        "message_id": message_id,
        "session_id": "s",
        "correlation_id": "corr_1",
        "duplicate": False,
        "events_url": f"/v1/sessions/s/events?message_id={message_id}",
    }
    assert answer.headers["Location"] == f"/v1/sessions/s/messages/{message_id}"
    assert request.body["message"] == "hello"
    assert request.body["message_id"] == message_id
    assert request.body["user_id"] == "u"
    assert request.body["correlation_id"] == "corr_1"
    assert set(request.body) == {
        "message_id",
        "session_id",
        "user_id",
        "message",
        "context",
        "timestamp",
        "correlation_id",
    }


async def test_events_url_and_location_lead_to_the_answer(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        accepted = await post(client, "s", model="count", max_tokens=10)
        async with client.stream("GET", accepted.json()["events_url"]) as response:
            reading = await Stream(response, Reading()).read_all()
        message = (await client.get(accepted.headers["Location"])).json()
    assert reading.ids == list(range(11))
    assert message["status"] == "done"
    assert message["content"] == reading.text


async def test_request_id_of_the_client_is_the_correlation_id(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        url, body = "/v1/sessions/s/messages", {"message": "hello"}
        answer = await client.post(url, json=body, headers={"X-Request-Id": "req-42"})
        other = await client.post(url, json=body, headers={"X-Request-Id": "with space"})
    assert answer.headers["X-Request-Id"] == answer.json()["correlation_id"] == "req-42"
    assert other.headers["X-Request-Id"] == other.json()["correlation_id"] != "with space"


async def test_correlation_id_of_the_body_is_the_request_id_of_the_answer(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1", role="all") as (_, client):
        url, body = "/v1/sessions/s/messages", {"message": "hello", "message_id": "m"}
        headers = {"X-Request-Id": "req-42"}
        first = await client.post(url, json=body | {"correlation_id": "corr-1"}, headers=headers)
        again = await client.post(url, json=body | {"correlation_id": "corr-2"}, headers=headers)
        refused = await client.post(
            url, json={"message": "x", "correlation_id": "corr-3", "context": {"model": "?"}}
        )
        no_header = await client.post(
            url, json={"message": "x", "correlation_id": "a\r\nX: y"}, headers=headers
        )
    assert first.headers["X-Request-Id"] == first.json()["correlation_id"] == "corr-1"
    assert again.json()["duplicate"] is True
    assert again.headers["X-Request-Id"] == again.json()["correlation_id"] == "corr-1"
    assert refused.status_code == 422
    assert refused.headers["X-Request-Id"] == refused.json()["request_id"] == "corr-3"
    assert no_header.headers["X-Request-Id"] == "req-42"
    assert no_header.json()["correlation_id"] == "a\r\nX: y"


@pytest.mark.parametrize(
    ("accept", "is_inline"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream ; charset=utf-8", True),
        ("application/json;q=0.5, text/event-stream;q=0.9", True),
        ("text/event-stream;q=0, application/json", False),
        ("text/event-stream; q=0.000", False),
        ("text/event-streams", False),
        ("*/*", False),
    ],
)
async def test_answer_streams_inline_only_to_who_asks_for_it(
    broker: Broker, accept: str, is_inline: bool
) -> None:
    async with pod_and_client(broker.url, "pod-1", role="all") as (_, client):
        body = {"message": "hello", "context": {"model": "echo"}}
        answer = await client.post("/v1/sessions/s/messages", json=body, headers={"Accept": accept})
    assert answer.status_code == (200 if is_inline else 202)


async def test_inline_answer_streams_from_its_first_chunk_and_ends_after_the_final(broker: Broker) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
    ):
        response, reading = await inline(client, "s", message_id="m")
    assert response.headers["Content-Type"].split(";")[0] == "text/event-stream"
    assert response.headers["X-Message-Id"] == "m"
    assert response.headers["X-Session-Id"] == "s"
    assert response.headers["X-Request-Id"]
    assert reading.ids == list(range(31))
    assert all(event.id for event in reading.events)


async def test_inline_answer_of_a_queued_message_waits_for_its_turn_and_shows_nothing_else(
    broker: Broker,
) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await post(client, "s", model="count", max_tokens=50, tokens_per_second=300, message_id="first")
        _, reading = await inline(client, "s", message_id="second")
    assert {chunk["message_id"] for chunk in reading.chunks} == {"second"}
    assert reading.ids == list(range(31))


async def test_inline_answer_that_was_cut_goes_on_by_its_positions_at_another_pod(broker: Broker) -> None:
    content = {"message": "go", "message_id": "m", "context": {"model": "count", "tokens_per_second": 300}}
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        async with one.stream("POST", "/v1/sessions/s/messages", json=content, headers=INLINE) as response:
            reading = await Stream(response, Reading()).read(7)
        async with events(two, "s", reading=reading, message_id="m") as stream:
            await stream.read_all()
    assert reading.ids == list(range(101))


async def test_inline_answer_repeated_is_the_same_answer_from_its_beginning(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        _, first = await inline(one, "s", message_id="m")
        _, again = await inline(one, "s", message_id="m")
        _, elsewhere = await inline(two, "s", message_id="m")
        assert len(await stored.claims(nats_client, "s")) == 1
    assert first.chunks == again.chunks == elsewhere.chunks


async def test_inline_answer_is_served_though_the_broker_falls_silent_right_after_accepting(
    broker: Broker, nats_client: Client
) -> None:
    """Accepted is accepted: an error now would make the client send it again."""
    content = {"message": "go", "context": {"model": "count", "max_tokens": 30}}
    async with (
        FaultProxy(broker.port) as proxy,
        pod_and_client(proxy.url, "pod-1") as (_, client),
        watching(nats_client, "$JS.API.DIRECT.GET.CHAT_TRANSCRIPT") as reads,
    ):
        # The first read of the transcript comes right after the acknowledgement; its answer is swallowed.
        reads.on_message = proxy.blackhole
        proxy.latency_seconds = 0.05
        async with client.stream("POST", "/v1/sessions/s/messages", json=content, headers=INLINE) as response:
            proxy.latency_seconds = 0.0
            reads.on_message = None
            proxy.blackhole(False)
            assert response.status_code == 200
            async with running(broker.url, role="worker", id="w"):
                reading = await Stream(response, Reading()).read_all()
    assert reads.messages
    assert reading.ids == list(range(31))
