"""`chatmesh usage`: what is in the transcript is added up, once, by whatever is asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.operate.bill import Bill, Entry
from chatmesh.protocol.spend import Call, Spend
from tests.operate.support import Start, finished
from tests.providers.dialects import OPENAI
from tests.providers.upstreams import stream, upstream
from tests.spend.test_spend import models
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    """Of a mesh that has answered: twice ada (once stopped), once bob with a model that has a price."""
    async with (
        upstream(stream(OPENAI.answer("One ", "two."))) as server,
        running(broker.url, models((OPENAI, server.url))) as mesh,
        client_of(mesh) as http,
    ):
        for session, user, context in (
            ("a", "ada", {"model": "count", "max_tokens": 5}),
            ("b", "bob", {"model": "m0"}),
        ):
            body = {"message": "hi", "message_id": "m", "user_id": user, "context": context}
            async with events(http, session) as reader:
                await http.post(f"/v1/sessions/{session}/messages", json=body)
                await reader.read_finals()
        body = {"message": "hi", "message_id": "n", "user_id": "ada"}
        body["context"] = {"model": "count", "tokens_per_second": 20}  # type: ignore[assignment]
        async with events(http, "a") as reader:
            await http.post("/v1/sessions/a/messages", json=body)
            await reader.read(3)
            await http.delete("/v1/sessions/a/messages/n")
            await reader.read_finals()
        yield http


class Command:
    def __init__(self, start: Start, url: str) -> None:
        self._start = start
        self._url = url

    async def text(self, *arguments: str) -> tuple[int, str, str]:
        code, process = await finished(self._start, "usage", *arguments, "--set", f"nats.servers={self._url}")
        return code, process.stdout, process.stderr

    async def json(self, *arguments: str) -> dict[str, Any]:
        code, out, err = await self.text(*arguments, "--json")
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer | {"lines": {line["key"]: line for line in answer["lines"]}}


@pytest.fixture
def usage(chatmesh: Start, broker: Broker) -> Command:
    return Command(chatmesh, broker.url)


@pytest.mark.usefixtures("client")
async def test_usage_is_added_up_by_what_is_asked_for(usage: Command) -> None:
    by_model = await usage.json()
    assert set(by_model["lines"]) == {"count", "m0"}
    paid = by_model["lines"]["m0"]
    assert (paid["prompt_tokens"], paid["generated_tokens"], paid["cost"]) == (11, 7, 0.000081)
    assert by_model["lines"]["count"]["cost"] is None
    assert by_model["total"]["messages"] == 3
    by_user = await usage.json("--by", "user")
    assert {user: line["messages"] for user, line in by_user["lines"].items()} == {"ada": 2, "bob": 1}
    by_end = await usage.json("--by", "end", "--session", "a")
    assert set(by_end["lines"]) == {"stop", "cancelled"}
    assert by_end["lines"]["stop"]["delivered_tokens"] == 5
    none = await usage.json("--since", "2100-01-01")
    assert (none["lines"], none["total"]["calls"]) == ({}, 0)
    assert (await usage.json("--since", "1h"))["total"] == by_model["total"]


async def test_usage_is_a_table_that_says_what_it_does_not_know(
    usage: Command, client: httpx.AsyncClient, nats_client: Client
) -> None:
    async with events(client, "c") as reader:
        await post(client, "c", model="count", tokens_per_second=5)
        await reader.read(1)
        await nats_client.jetstream().publish("chat.session.d.transcript.m", b"no record")
        code, out, _ = await usage.text("--by", "message")
        await client.delete("/v1/sessions/c/messages/" + reader.reading.chunks[0]["message_id"])
        await reader.read_finals()
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:5]] == ["MESSAGE", "a/m", "a/n", "b/m", "total"]
    assert "2 of 3 calls were counted here" in out
    assert "1 messages have not ended" in out
    assert "1 messages hold what is no record" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--since", "yesterday"], "--since must be a time"), (["--session", "a.b"], "--session must match")],
)
async def test_question_that_makes_no_sense_is_refused(
    usage: Command, arguments: list[str], said: str
) -> None:
    code, out, err = await usage.text(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_message_of_two_calls_is_one_message() -> None:
    calls = (Call("m", 1, "lost", 1, 2, 2), Call("m", 2, "stop", 1, 3, 3, cost=1.0))
    bill = Bill("model")
    bill.add(Entry("s", "a", "2026-01-02T00:00:00.000Z", "stop", Spend("u", calls)))
    bill.add(Entry("s", "b", "2026-01-02T00:00:00.000Z", "cancelled", Spend("u")))
    lines = {line.key: (line.messages, line.calls, line.generated_tokens, line.cost) for line in bill.lines}
    assert lines == {"m": (1, 2, 5, 1.0), "(none)": (1, 0, 0, None)}
    assert (bill.total.messages, bill.total.calls) == (2, 2)
