"""The session's own history has tool calls where their results have come, whatever the way, and never the one without the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from chatmesh.app import Mesh
from tests.conversation.test_history import say
from tests.openai.support import sdk
from tests.openai.test_sdk import TOOLS, url_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import models

MODELS = models("calling", "telling")
RESULT = {"tool_call_id": "call_1", "content": "rain"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Graz"}'}}
CALLED = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool"} | RESULT,
]
FUNCTION: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, MODELS) as mesh:
        yield mesh


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as client:
        yield client


async def ask(http: httpx.AsyncClient, message: str, **context: Any) -> str:
    """The answer's text, natively."""
    return await say(http, message, context={"model": "telling"} | context)


async def history(http: httpx.AsyncClient, message: str = "?", **context: Any) -> list[dict[str, Any]]:
    """What the model is told of the session."""
    told: list[dict[str, Any]] = json.loads(await ask(http, message, **context))["history"]
    return told


async def test_results_that_a_native_message_brings_stand_behind_their_calls(http: httpx.AsyncClient) -> None:
    await ask(http, "weather?", model="calling", tools=TOOLS)
    assert await history(http, tool_results=[RESULT]) == CALLED
    assert (await history(http))[:3] == CALLED, "later messages are told of them too"


async def test_calls_without_results_and_results_without_calls_are_left_out(http: httpx.AsyncClient) -> None:
    await ask(http, "weather?", model="calling", tools=TOOLS)
    nobodys = [RESULT | {"tool_call_id": "nobody's"}, "?", {"tool_call_id": 5}]
    assert await history(http, tool_results=nobodys) == CALLED[:1]


async def test_results_in_the_history_that_an_openai_client_brings_are_the_sessions(
    mesh: Mesh, http: httpx.AsyncClient
) -> None:
    session = {"extra_headers": {"X-Session-Id": "s"}}
    async with sdk(url_of(mesh)) as client:
        messages: list[Any] = CALLED[:1]
        await client.chat.completions.create(model="calling", messages=messages, tools=TOOLS, **session)
        brought: list[Any] = CALLED
        answer = await client.chat.completions.create(model="telling", messages=brought, **session)
    assert await history(http) == [
        *CALLED,
        {"role": "assistant", "content": answer.choices[0].message.content},
    ]


async def test_response_goes_on_with_the_results_of_the_previous_ones_calls(mesh: Mesh) -> None:
    async with sdk(url_of(mesh)) as client:
        first = await client.responses.create(model="calling", input="weather?", tools=[FUNCTION])
        output: Any = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
        asked: Any = {"model": "telling", "previous_response_id": first.id}
        told = json.loads((await client.responses.create(input=[output], **asked)).output_text)
        assert (told["message"], told["history"]) == ("", CALLED)
        with pytest.raises(openai.UnprocessableEntityError, match="call_1"):
            await client.responses.create(input=[output | {"call_id": "call_2"}], **asked)
