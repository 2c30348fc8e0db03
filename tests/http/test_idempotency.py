"""The same message again, on any pod, at any time, is the same message: one answer, one call of the provider."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually


async def ask(client: httpx.AsyncClient, **body: object) -> httpx.Response:
    content = {"model": "count", "max_tokens": 20, "message_id": "m", **body}
    return await post(client, "s", str(content.pop("message", "go")), **content)


async def answer(client: httpx.AsyncClient, message_id: str = "m") -> list[int]:
    async with events(client, "s", message_id=message_id) as stream:
        return (await stream.read_all()).ids


def is_duplicate(response: httpx.Response) -> bool:
    assert response.status_code == 202, response.text
    flag: bool = response.json()["duplicate"]
    return flag


async def test_same_id_again_is_answered_once_while_queued_while_running_and_after(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        first = await ask(one, tokens_per_second=200, correlation_id="first")
        queued = [await ask(pod, tokens_per_second=200) for pod in (one, two)]
        async with running(broker.url, role="worker", id="w"), events(one, "s") as stream:
            await stream.read(3)
            running_ = [await ask(pod, tokens_per_second=200) for pod in (one, two)]
            await stream.read_finals()
            after = [await ask(pod, tokens_per_second=200) for pod in (one, two)]
            await eventually(lambda: _is_empty(nats_client))
            late = [await ask(pod, tokens_per_second=200) for pod in (one, two)]
            assert await answer(two) == list(range(21))
        claims = await stored.claims(nats_client, "s")
        chunks = await stored.chunks(nats_client, "s")
    assert not is_duplicate(first)
    for again in (*queued, *running_, *after, *late):
        assert is_duplicate(again)
        assert again.json()["message_id"] == "m"
        assert again.json()["correlation_id"] == "first", "the first one's, by which its logs are found"
    assert len(claims) == 1, "one provider call"
    assert [chunk["chunk_id"] for chunk in chunks] == list(range(21))


async def test_same_id_at_the_same_moment_at_two_pods_is_one_answer(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        for number in range(5):
            message_id = f"m{number}"
            answers = await asyncio.gather(*(ask(pod, message_id=message_id) for pod in (one, two) * 3))
            assert sorted(map(is_duplicate, answers)) == [False] + [True] * 5
            assert await answer(one, message_id) == list(range(21))
        assert len(await stored.claims(nats_client, "s")) == 5


async def test_same_id_after_jetstreams_window_of_duplicates_is_the_same_message(
    broker: Broker, nats_client: Client
) -> None:
    """A restarted broker has forgotten the ids of what left its work queue, as the window makes it do in two minutes."""
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        assert not is_duplicate(await ask(client))
        assert await answer(client) == list(range(21))
        await eventually(lambda: _is_empty(nats_client))
        await broker.restart()
        await eventually(lambda: nats_client.is_connected)
        await eventually(lambda: is_ready(client))
        raw = await nats_client.jetstream().publish(
            "chat.workflow.execute.probe", b"{}", headers={"Nats-Msg-Id": "s:m"}
        )
        assert not raw.duplicate, "JetStream still knows the id; this test proves nothing"
        assert is_duplicate(await ask(client))
        assert (await ask(client, message="another")).status_code == 422
        assert await answer(client) == list(range(21))
        assert len(await stored.claims(nats_client, "s")) == 1


async def test_same_id_in_another_session_is_another_message(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        for session_id in ("alice", "bob"):
            answered = await post(client, session_id, session_id, model="echo", message_id="msg_1")
            assert not is_duplicate(answered)
            async with events(client, session_id, message_id="msg_1") as stream:
                assert (await stream.read_all()).text == session_id


KEYS = ("key-1", "any text, with: spaces. and dots", "ümläut", "k" * 500, "*", ">")


async def test_idempotency_key_makes_a_repetition_the_same_message(
    broker: Broker, nats_client: Client
) -> None:
    body = {"message": "go", "context": {"model": "count", "max_tokens": 5}}
    url = "/v1/sessions/s/messages"
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        for key in KEYS:
            headers = {"Idempotency-Key": key.encode()}
            first = await one.post(url, json=body, headers=headers)
            again = await two.post(url, json=body, headers=headers)
            other = await two.post(url, json=body | {"message": "no"}, headers=headers)
            assert not is_duplicate(first)
            assert is_duplicate(again)
            assert first.json()["message_id"] == again.json()["message_id"]
            assert other.status_code == 422
            assert await answer(one, first.json()["message_id"]) == list(range(6))
        assert len(await stored.claims(nats_client, "s")) == len(KEYS)


async def test_idempotency_key_makes_an_inline_answer_the_same_one_from_its_beginning(
    broker: Broker, nats_client: Client
) -> None:
    headers = {"Accept": "text/event-stream", "Idempotency-Key": "two words"}
    body = {"message": "go", "context": {"model": "count", "max_tokens": 20}}
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        told = [
            await pod.post("/v1/sessions/s/messages", json=body, headers=headers) for pod in (one, one, two)
        ]
        assert len(await stored.claims(nats_client, "s")) == 1, "one provider call"
    assert [answer.status_code for answer in told] == [200] * 3
    assert len({answer.headers["X-Message-Id"] for answer in told}) == 1
    data = [[line for line in answer.text.split("\n") if line.startswith("data:")] for answer in told]
    assert len(data[0]) == 21
    assert data[0] == data[1] == data[2]


async def test_empty_idempotency_key_is_none(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        answers = [
            await client.post(
                "/v1/sessions/s/messages", json={"message": message}, headers={"Idempotency-Key": ""}
            )
            for message in ("one", "two")
        ]
    assert not any(is_duplicate(answer) for answer in answers)


@pytest.mark.parametrize("has_worker", [False, True])
async def test_same_id_with_another_body_is_a_conflict(broker: Broker, has_worker: bool) -> None:
    async with pod_and_client(broker.url, "x", role="all" if has_worker else "pod") as (_, client):
        await ask(client)
        if has_worker:
            await answer(client)
        for body in ({"message": "other"}, {"max_tokens": 21}, {"user_id": "somebody"}):
            refused = await ask(client, **body)
            assert refused.status_code == 422
            assert refused.json()["code"] == "idempotency_conflict"
        assert is_duplicate(await ask(client))


async def test_idempotency_key_and_message_id_that_differ_are_a_conflict(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        body = {"message": "go", "message_id": "a"}
        refused = await client.post("/v1/sessions/s/messages", json=body, headers={"Idempotency-Key": "b"})
        agreed = await client.post("/v1/sessions/s/messages", json=body, headers={"Idempotency-Key": "a"})
    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_conflict"
    assert agreed.json()["message_id"] == "a"


async def test_without_an_id_the_same_text_twice_is_two_messages(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        ids = {(await post(client, "s", "hello")).json()["message_id"] for _ in range(3)}
        assert len(await stored.queued(nats_client, "s")) == len(ids) == 3


async def _is_empty(client: Client) -> bool:
    return not await stored.queued(client, "s")
