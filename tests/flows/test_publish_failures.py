"""The seed's "Publish Failures" and "Subscription Failures": publish with retry, and what a pod says meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client

from chatmesh.broker import PubAck
from chatmesh.protocol.headers import MSG_ID
from tests.support import stored
from tests.support.broker import Broker
from tests.support.cluster import Cluster
from tests.support.mesh import is_ready, pod_and_client, running
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

pytestmark = pytest.mark.slow


async def test_publish_that_was_cut_is_retried_with_the_same_id_and_stored_once(
    broker: Broker, nats_client: Client
) -> None:
    """The request reaches the broker, its acknowledgement is swallowed, the connection is reset."""
    async with (
        FaultProxy(broker.port) as proxy,
        pod_and_client(proxy.url, "pod-1") as (_, client),
        watching(nats_client, "chat.workflow.execute.s") as published,
    ):
        # While the acknowledgement is on its way.
        published.on_message = proxy.cut
        proxy.latency_seconds = 0.5
        posting = asyncio.create_task(post(client, "s", model="count", max_tokens=5))
        await eventually(lambda: published.messages)
        published.on_message = None
        proxy.latency_seconds = 0.0
        answer = await posting
        await eventually(lambda: len(published.messages) > 1)
        queued = await stored.queued(nats_client, "s")
    assert answer.status_code == 202
    ids = {message.headers["Nats-Msg-Id"] for message in published.messages if message.headers}
    assert ids == {f"s:{answer.json()['message_id']}"}, "every try has the same id"
    assert [request.body["message_id"] for request in queued] == [answer.json()["message_id"]]


async def test_what_the_connection_has_no_room_for_is_stored_once_it_has(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, role="worker", id="w") as mesh:
        client = mesh.broker.connection._client
        assert client is not None
        room, client._max_pending_size = client._max_pending_size, 10
        refused = client.stats["out_msgs"]
        publishing = asyncio.create_task(
            mesh.broker.publisher.publish(
                "chat.dead.s", b"x" * 100, message_headers={MSG_ID: "a"}, deadline_seconds=20
            )
        )
        await eventually(lambda: len(mesh.broker.publisher) == 1)
        assert client.stats["out_msgs"] == refused
        assert not publishing.done()
        client._max_pending_size = room
        assert not (await publishing).duplicate


@pytest.mark.slow
async def test_message_that_is_sent_again_while_the_first_is_under_way_on_three_servers_is_not_refused(
    cluster: Cluster,
) -> None:
    """JetStream answers 10158 to the second: the same id is in process. It is a duplicate, once that is over."""
    settings = [f"nats.servers={','.join(cluster.urls)}", "streams.replicas=3"]
    async with running(cluster.urls[0], *settings, role="pod") as mesh:
        for number in range(20):

            async def publish(text: str = f"s:m{number}") -> PubAck:
                return await mesh.broker.publisher.publish(
                    "chat.workflow.execute.s", b"{}", message_headers={MSG_ID: text}, deadline_seconds=10
                )

            acks = await asyncio.gather(*(publish() for _ in range(5)))
            assert len({ack.seq for ack in acks}) == 1
            # None is the first one where its acknowledgement was waited for so long that it was sent again.
            assert sum(not ack.duplicate for ack in acks) <= 1


async def test_chunks_whose_publish_was_cut_are_stored_once_and_in_order(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        FaultProxy(broker.port) as proxy,
        running(proxy.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
        events(client, "s") as stream,
    ):
        await post(client, "s", model="count", max_tokens=200, tokens_per_second=200)
        for _ in range(3):
            await stream.read(20)
            proxy.cut()
        reading = await stream.read_finals()
        transcript = await stored.records(nats_client, "s")
        assert len(await stored.claims(nats_client, "s")) == 1, (
            "the same worker goes on; no model is paid twice"
        )
    assert reading.ids == list(range(201))
    assert [record.body["offset"] for record in transcript] == list(range(1, len(transcript) + 1))
    assert [chunk for record in transcript for chunk in record.body["chunks"]] == reading.chunks


async def test_look_at_the_streams_that_was_cut_does_not_make_the_pod_not_ready(
    broker: Broker, nats_client: Client
) -> None:
    """The answer was lost with its connection, which says nothing of JetStream: it is asked again."""
    async with (
        FaultProxy(broker.port) as proxy,
        watching(nats_client, "$JS.API.CONSUMER.INFO.>") as looks,
        pod_and_client(proxy.url, "pod-1", role="all") as (mesh, client),
    ):
        proxy.latency_seconds = 0.1
        before = len(looks.messages)
        proxy.cut()
        await eventually(
            lambda: len(looks.messages) > before
        )  # asked after the reconnect, the answer is on its way
        proxy.cut()
        proxy.latency_seconds = 0.0

        def is_asked_again() -> bool:
            problems.append(mesh.broker.streams.problem)
            return len(looks.messages) > before + 1

        problems: list[object] = []
        await eventually(is_asked_again)
        assert await is_ready(client)
    assert not any(problems)


async def test_disconnect_makes_the_pod_not_ready_and_reconnect_brings_it_back(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1", role="all") as (_, client):
        assert await is_ready(client)
        broker.kill()
        await eventually(lambda: _is_not_ready(client))
        away = await client.get("/readyz")
        alive = await client.get("/healthz")
        await broker.launch()
        await eventually(lambda: is_ready(client))
        async with events(client, "s") as stream:
            accepted = await post(client, "s", model="count", max_tokens=5)
            reading = await stream.read_finals()
    assert away.status_code == 503
    assert away.headers["Retry-After"].isdigit()
    assert away.json()["code"] == "not_ready"
    assert alive.status_code == 200, "losing the broker is a state, no reason to be killed"
    assert accepted.status_code == 202
    assert reading.text == "1 2 3 4 5 "


async def test_post_while_the_broker_does_not_answer_is_unknown_and_repeating_it_is_safe(
    broker: Broker, nats_client: Client
) -> None:
    """A black hole: the connection looks alive. 504 names the message; the same one again is not answered twice."""
    async with (
        running(broker.url, role="worker", id="w"),
        FaultProxy(broker.port) as proxy,
        pod_and_client(proxy.url, "pod-1") as (_, client),
    ):
        proxy.blackhole()
        unknown = await post(client, "s", "hello", model="echo")
        proxy.blackhole(False)
        assert unknown.status_code == 504
        problem = unknown.json()
        assert problem["code"] == "acceptance_unknown"
        await eventually(lambda: is_ready(client))
        again = await post(client, "s", "hello", model="echo", message_id=problem["message_id"])
        async with events(client, "s", message_id=problem["message_id"]) as stream:
            reading = await stream.read_all()
        assert len(await stored.claims(nats_client, "s")) == 1
    assert again.status_code == 202
    assert reading.text == "hello"


async def test_reader_goes_on_by_itself_when_the_broker_was_restarted_in_mid_answer(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client), events(client, "s") as stream:
        await post(client, "s", model="count", max_tokens=100, tokens_per_second=100)
        await stream.read(10)
        broker.kill()
        await broker.launch()
        reading = await stream.read_finals()
        await eventually(lambda: nats_client.is_connected)
        assert len(await stored.claims(nats_client, "s")) == 1
        assert await stored.chunks(nats_client, "s") == reading.chunks
    assert reading.ids == list(range(101))
    assert not reading.named("reset")


async def _is_not_ready(client: object) -> bool:
    return not await is_ready(client)  # type: ignore[arg-type]
