"""A response that is not to be stored can't be come back to once it has ended. The session knows it all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI

from tests.openai.support import rows
from tests.openai.test_sdk import url_of
from tests.responses.support import Heard, openai_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running

NAMED = {"X-Session-Id": "s"}


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[AsyncOpenAI]:
    async with running(broker.url, "demo.tokens_per_second=50") as mesh, openai_of(url_of(mesh)) as client:
        yield client


async def test_it_says_so_and_is_not_found_once_it_has_ended(client: AsyncOpenAI) -> None:
    asked = {"model": "echo", "input": "one", "extra_headers": {"Idempotency-Key": "k"}}
    told = await client.responses.create(**asked, store=False)  # type: ignore[call-overload]
    assert (told.output_text, told.to_dict()["store"]) == ("one", False)
    for call in (
        client.responses.retrieve(told.id),
        client.responses.retrieve(told.id, stream=True),
        client.responses.cancel(told.id),
        client.responses.create(model="echo", input="two", previous_response_id=told.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await call
    assert await client.responses.create(**asked, store=False) == told  # type: ignore[call-overload]
    stored = await client.responses.create(model="echo", input="one")
    assert stored.to_dict()["store"] is True


async def test_its_stream_can_be_come_back_to_while_it_runs(client: AsyncOpenAI) -> None:
    asked = {"model": "count", "input": "x", "max_output_tokens": 1000, "stream": True, "store": False}
    heard = await Heard().follow(await client.responses.create(**asked), 8)  # type: ignore[call-overload]
    id, last = heard.events[0].response.id, heard.numbers[-1]
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="echo", input="two", previous_response_id=id)
    await heard.follow(await client.responses.retrieve(id, stream=True, starting_after=last), 8)
    assert heard.numbers == list(range(16))
    told = await client.responses.cancel(id)
    assert told.status == "cancelled"
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(id)


async def test_what_goes_on_in_the_background_has_to_be_stored(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="store"):
        await client.responses.create(model="echo", input="x", background=True, store=False)


async def test_its_session_knows_it_all_the_same(broker: Broker) -> None:
    async with (
        running(broker.url) as mesh,
        openai_of(url_of(mesh)) as client,
        client_of(mesh) as http,
    ):
        await client.responses.create(model="echo", input="one", store=False, extra_headers=NAMED)
        assert [row["content"] for row in await rows(http, "s")] == ["one", "one"]
