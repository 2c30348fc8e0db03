"""A sender knows what became of its message: accepted, refused, or open; and it is one message however often sent."""

from __future__ import annotations

import pytest

from chatmesh.client import Client, Fate
from tests.client.scripted import Pod, answer, pods
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.ports import free_port

ACCEPTED = answer(202, {"message_id": "m", "duplicate": False})
REFUSED = answer(503, {"code": "broker_away"})
OPEN = answer(504, {"code": "acceptance_unknown"})
CUT = b""


def ids(pod: Pod) -> list[str]:
    return [each.body["message_id"] for each in pod.asked]


@pytest.mark.parametrize(
    ("script", "fate", "tries"),
    [
        ([ACCEPTED], Fate.ACCEPTED, 1),
        ([REFUSED, ACCEPTED], Fate.ACCEPTED, 2),
        ([OPEN, ACCEPTED], Fate.ACCEPTED, 2),
        ([CUT, ACCEPTED], Fate.ACCEPTED, 2),
        ([answer(500), answer(429), ACCEPTED], Fate.ACCEPTED, 3),
        ([REFUSED], Fate.REFUSED, 3),
        ([OPEN], Fate.UNKNOWN, 3),
        ([CUT], Fate.UNKNOWN, 3),
        # One of the tries may have left it there: that the others did not says nothing.
        ([CUT, REFUSED], Fate.UNKNOWN, 3),
        ([OPEN, answer(422, {"code": "unknown_model"})], Fate.UNKNOWN, 2),
        ([answer(422, {"code": "unknown_model"})], Fate.REFUSED, 1),
        ([answer(413)], Fate.REFUSED, 1),
    ],
)
async def test_fate_of_a_message_is_what_its_answers_say_together(
    script: list[bytes], fate: Fate, tries: int
) -> None:
    async with pods(script) as (pod,), Client([pod.url]) as client:
        sent = await client.send("s", "m", "hello", max_tries=3)
    assert (sent.fate, sent.tries) == (fate, tries)
    assert ids(pod) == ["m"] * tries


async def test_pod_that_is_not_there_has_accepted_nothing() -> None:
    async with Client([f"http://127.0.0.1:{free_port()}"]) as client:
        sent = await client.send("s", "m", "hello", max_tries=2)
    assert (sent.fate, sent.status, sent.reason) == (Fate.REFUSED, 0, "no answer")


async def test_sender_goes_to_another_pod_when_one_refuses() -> None:
    async with (
        pods([REFUSED, ACCEPTED], [REFUSED, ACCEPTED]) as both,
        Client([pod.url for pod in both]) as client,
    ):
        sent = await client.send("s", "m", "hello")
    assert (sent.fate, sent.tries) == (Fate.ACCEPTED, 3)
    assert sorted(len(pod.asked) for pod in both) == [1, 2]


async def test_patience_ends() -> None:
    async with pods([REFUSED]) as (pod,), Client([pod.url]) as client:
        sent = await client.send("s", "m", "hello", patience_seconds=0)
    assert (sent.fate, sent.tries) == (Fate.REFUSED, 1)


async def test_sender_that_reaches_nobody_gives_up_sooner_than_one_who_is_told_to_wait() -> None:
    async with Client([f"http://127.0.0.1:{free_port()}"]) as client:
        sent = await client.send("s", "m", "hello", reach_seconds=0)
    assert (sent.fate, sent.tries) == (Fate.REFUSED, 1)
    async with pods([REFUSED, ACCEPTED]) as (pod,), Client([pod.url]) as client:
        assert (await client.send("s", "m", "hello", reach_seconds=0)).fate is Fate.ACCEPTED


async def test_stop_and_questions_go_to_every_pod_until_one_answers() -> None:
    stopping = answer(202, {"status": "stopping"})
    async with pods([REFUSED], [stopping]) as both:
        away = f"http://127.0.0.1:{free_port()}"
        async with Client([away, *(pod.url for pod in both)]) as client:
            for _ in range(5):  # wherever it begins
                assert await client.stop("s", "m") == (202, {"status": "stopping"})
                assert (await client.get("/x", limit="1"))[0] == 202
    assert {each.path for each in both[1].asked} == {"/v1/sessions/s/messages/m", "/x?limit=1"}
    async with Client([away]) as client:
        assert await client.stop("s", "m") == (0, {})


async def test_token_goes_with_every_request_and_follows_no_redirect() -> None:
    async with pods([answer(302, Location="http://127.0.0.1:1/")]) as (pod,):
        async with Client([pod.url], token="secret") as client:
            assert (await client.send("s", "m", "hello")).status == 302
            assert (await client.stop("s", "m"))[0] == 302
            assert (await client.get("/x"))[0] == 302
        async with Client([pod.url]) as client:
            await client.get("/x")
    told = [each.headers.get("authorization") for each in pod.asked]
    assert told == ["Bearer secret"] * 3 + [None]


async def test_message_that_was_sent_twice_to_a_mesh_is_one_and_its_answer_is_read(broker: Broker) -> None:
    async with running(broker.url) as mesh:
        assert mesh.server is not None
        async with Client([mesh.server.url]) as client:
            context = {"model": "count", "max_tokens": 3}
            first = await client.send("s", "m", "go", context=context)
            again = await client.send("s", "m", "go", context=context)
            assert (first.fate, again.fate) == (Fate.ACCEPTED, Fate.ACCEPTED)
            assert (first.is_duplicate, again.is_duplicate) == (False, True)
            async with client.read("s", message_id="m") as reader:
                found = [each async for each in reader]
            assert len(found) == 4
            status, history = await client.get("/v1/sessions/s/messages")
            assert status == 200
            assert history["messages"][1]["content"] == "1 2 3 "
