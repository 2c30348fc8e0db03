"""A session of which its pod saw nothing is claimed before anybody looks, and that may be wrong."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker import MessageState, Transcript
from chatmesh.errors import BrokerUnreachableError
from chatmesh.hub.hub import Hub
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.workflow import StopSweep
from chatmesh.workflow.stops import CLOCKS_SECONDS, RecentStops
from tests.support import stored
from tests.support.broker import Broker
from tests.support.live import Live
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 3}

WOULD_KNOW = StopSweep.would_know


@pytest.fixture(autouse=True)
def has_listened(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a worker that has been up for seconds."""
    monkeypatch.setattr(StopSweep, "would_know", lambda *_: True)


async def say_new(mesh: Mesh, message_id: str) -> None:
    """A pod that read from a replica that is behind."""
    request = WorkflowRequest.decode(
        b'{"session_id":"s","message_id":"%b","message":"go","context":{"model":"count","max_tokens":3},'
        b'"user_id":"","timestamp":"2025-11-17T20:30:00Z","correlation_id":"c"}' % message_id.encode()
    )
    await mesh.broker.queue.submit(request, key=None, only_if_free=True, is_new=True, again=True, seconds=5)


async def test_first_token_of_a_new_session_waits_for_no_read(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_told, state = asyncio.Event(), Transcript.state
    async with (
        running(broker.url, id="p", role="pod") as pod,
        running(broker.url, id="w", role="worker") as worker,
        client_of(pod) as http,
        events(http, "s") as stream,
    ):

        async def late(self: Transcript, *asked: Any, **more: Any) -> MessageState:
            if self is worker.broker.transcript:
                await is_told.wait()
            return await state(self, *asked, **more)

        monkeypatch.setattr(Transcript, "state", late)
        await post(http, "s", message_id="m1", **COUNT, tokens_per_second=50)
        await stream.read(1)
        is_told.set()
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]


async def test_session_that_is_not_new_is_gone_on_with(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read_finals()
        await eventually(lambda: is_empty(mesh))
        await say_new(mesh, "m2")
        reading = await stream.read_finals(2)
        assert [(chunk["message_id"], chunk["chunk_id"]) for chunk in reading.chunks] == [
            (message, number) for message in ("m1", "m2") for number in range(4)
        ]
        row = (await http.get("/v1/sessions/s/messages/m2")).json()
        assert (row["status"], row["content"]) == ("done", "1 2 3 ")


async def test_message_that_is_answered_already_is_not_answered_again(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read_finals()
        await eventually(lambda: is_empty(mesh))
        kept = await stored.records(nats_client, "s")
        await say_new(mesh, "m1")
        await eventually(lambda: is_empty(mesh))
        assert await stored.records(nats_client, "s") == kept


CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ASKING: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "go"}]}


async def test_request_is_called_new_where_its_pod_knows_that_nothing_was_said_before(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url) as mesh,
        client_of(mesh) as http,
        watching(nats_client, "chat.workflow.execute.*") as requests,
    ):

        async def is_new(path: str, body: dict[str, Any], session: str | None = None) -> bool:
            named = {"X-Session-Id": session} if session is not None else {}
            assert (await http.post(path, json=body, headers=named)).is_success
            await eventually(lambda: requests.messages)
            return "Chatmesh-New" in (requests.messages.pop().headers or {})

        assert await is_new("/v1/sessions/a/messages", {"message": "go", "message_id": "m1"})
        await eventually(lambda: is_empty(mesh))
        assert not await is_new("/v1/sessions/a/messages", {"message": "go", "message_id": "m2"})
        assert not await is_new("/v1/sessions/b/messages", {"message": "go"}), "nobody has looked"
        assert await is_new(CHAT, ASKING)
        assert not await is_new(CHAT, ASKING, "a")
        assert await is_new(RESPONSES, {"model": "echo", "input": "go"})
        assert not await is_new(RESPONSES, {"model": "echo", "input": "go"}, "a")
        assert (await http.delete("/v1/sessions/a")).status_code == 202
        await eventually(lambda: is_empty(mesh))
        requests.messages.clear()
        assert not await is_new("/v1/sessions/a/messages", {"message": "go", "message_id": "m1"}), "erased"


async def test_request_is_called_new_where_a_reader_has_heard_of_nothing(
    broker: Broker, nats_client: Client, live: Live
) -> None:
    async with (
        running(broker.url, id="p") as mesh,
        running(broker.url, id="q", role="pod") as other,
        client_of(mesh) as http,
        client_of(other) as beside,
        watching(nats_client, "chat.workflow.execute.*") as requests,
        live(http, "s"),
        live(http, "t", message_id="m1"),
        live(beside, "s") as stream,
    ):

        async def is_new(asked: httpx.AsyncClient, session: str, **body: Any) -> bool:
            assert (await post(asked, session, **body, **COUNT)).is_success
            await eventually(lambda: requests.messages)
            return "Chatmesh-New" in (requests.messages.pop().headers or {})

        assert not await is_new(http, "t"), "the other messages were not read"
        assert await is_new(http, "s")
        await stream.read_finals()
        assert not await is_new(beside, "s"), "it heard of the one before, which it had not taken"


async def test_first_message_of_a_session_that_is_read_waits_for_no_look(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, live: Live
) -> None:
    """Nor is it asked twice, or taken for another one, when it is repeated."""
    async with running(broker.url) as mesh, client_of(mesh) as http, live(http, "s") as stream:

        async def state(*_: Any, **__: Any) -> MessageState:
            raise BrokerUnreachableError("the transcript does not answer")

        with monkeypatch.context() as silent:
            silent.setattr(Transcript, "state", state)
            assert (await post(http, "s", message_id="m1", **COUNT)).json()["duplicate"] is False
            assert (await stream.read_finals()).ids == [0, 1, 2, 3]
        assert (await post(http, "s", message_id="m1", **COUNT)).json()["duplicate"] is True
        assert (await post(http, "s", "another", message_id="m1", **COUNT)).status_code == 422


async def test_pod_that_heard_of_nothing_though_much_was_said_takes_nothing_twice(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all that its reader was to hear had been lost."""
    async with running(broker.url) as mesh, client_of(mesh) as http, events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read_finals()
        await eventually(lambda: is_empty(mesh))
        kept = await stored.records(nats_client, "s")
        monkeypatch.setattr(Hub, "seems_new", lambda *_: True)
        assert (await post(http, "s", message_id="m1", **COUNT)).json()["duplicate"] is True
        assert (await post(http, "s", "another", message_id="m1", **COUNT)).status_code == 422
        assert await stored.records(nats_client, "s") == kept
        assert (await post(http, "s", message_id="m2", **COUNT)).json()["duplicate"] is False
        reading = await stream.read_finals(2)
        assert [(chunk["message_id"], chunk["chunk_id"]) for chunk in reading.chunks] == [
            (message, number) for message in ("m1", "m2") for number in range(4)
        ]


async def is_empty(mesh: Mesh) -> bool:
    return await mesh.broker.queue.oldest(seconds=5) is None


def test_stop_would_be_known_of_what_has_just_come_to_one_who_listens() -> None:
    sweep = StopSweep.__new__(StopSweep)
    now = [100.0]
    sweep.recent = RecentStops(lambda: now[0])
    would_know = partial(WOULD_KNOW, sweep)
    assert not would_know(time.time()), "nobody listens"
    sweep.recent.listens()
    now[0] += CLOCKS_SECONDS / 2
    assert not would_know(time.time()), "it may have come before"
    now[0] += 10
    assert would_know(time.time())
    for waited in (2 * CLOCKS_SECONDS, -2 * CLOCKS_SECONDS):
        assert not would_know(time.time() - waited), "or the clocks are apart"
    sweep.recent.doubt()
    assert not would_know(time.time()), "one may have been missed"
