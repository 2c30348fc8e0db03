"""OpenAI's own client asks for responses: as a whole, as a stream, in the background."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from chatmesh.app import Mesh
from tests.responses.support import Heard, openai_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import calls, models
from tests.support.waiting import eventually

SLOW = {"model": "count", "input": "go", "max_output_tokens": 1000}
WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    settings = (models("remembering", "calling_two", "raising"), "worker.max_attempts=1")
    async with running(broker.url, "demo.tokens_per_second=50", *settings) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[AsyncOpenAI]:
    assert mesh.server is not None
    async with openai_of(mesh.server.url) as client:
        yield client


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as http:
        yield http


async def test_response_is_whole_and_says_what_was_asked(client: AsyncOpenAI) -> None:
    asked = {"metadata": {"a": "b"}, "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 2}
    told = await client.responses.create(model="echo", input="one two three", **asked)  # type: ignore[call-overload]
    assert (told.status, told.output_text) == ("incomplete", "one two ")
    assert told.incomplete_details.reason == "max_output_tokens"
    assert {name: getattr(told, name) for name in asked} == asked
    assert told.usage.output_tokens == 2
    assert told.model == "echo"
    assert await client.responses.retrieve(told.id) == told


async def test_stream_tells_what_the_object_says(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="echo", input="one two three", stream=True)
    heard = await Heard().follow(stream)
    assert heard.types[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert heard.types[-1] == "completed"
    assert heard.numbers == list(range(len(heard.numbers)))
    assert heard.text == "one two three"
    assert await client.responses.retrieve(heard.events[0].response.id) == heard.events[-1].response


async def test_clients_own_accumulation_of_a_stream_is_the_response(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="echo", input="one two three") as stream:
        async for _ in stream:
            pass
        told = await stream.get_final_response()
    assert told.output_text == "one two three"


async def test_response_in_the_background_goes_on_without_a_client(client: AsyncOpenAI) -> None:
    begun = await client.responses.create(model="count", input="go", max_output_tokens=20, background=True)
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])

    async def has_ended() -> Any:
        told = await client.responses.retrieve(begun.id)
        assert told.status in ("queued", "in_progress", "incomplete", "completed")
        return told if told.status == "completed" else None

    told = await eventually(has_ended)
    assert told.output_text == "".join(f"{number} " for number in range(1, 21))
    assert told.background is True


async def test_stream_that_is_left_goes_on(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="count", input="go", max_output_tokens=20, stream=True)
    heard = await Heard().follow(stream, 6)
    id = heard.events[0].response.id

    async def has_ended() -> bool:
        return (await client.responses.retrieve(id)).status == "completed"

    await eventually(has_ended)


async def test_cancel_stops_a_response_and_its_text_stays(client: AsyncOpenAI) -> None:
    begun = await client.responses.create(**SLOW, background=True)  # type: ignore[call-overload]

    async def says_something() -> str:
        told: str = (await client.responses.retrieve(begun.id)).output_text
        return told

    await eventually(says_something)
    told = await client.responses.cancel(begun.id)
    assert told.status == "cancelled"
    assert told.output_text.startswith("1 ")
    assert told.output[0].status == "incomplete"  # type: ignore[union-attr]
    assert await client.responses.cancel(begun.id) == told
    heard = await Heard().follow(await client.responses.retrieve(begun.id, stream=True))
    assert heard.types[-1] == "cancelled"
    assert heard.text == told.output_text


async def test_cancel_of_a_response_that_waits_ends_it_before_its_turn(client: AsyncOpenAI) -> None:
    first = await client.responses.create(**SLOW, background=True)  # type: ignore[call-overload]
    second = await client.responses.create(**SLOW, background=True, previous_response_id=first.id)  # type: ignore[call-overload]
    assert (await client.responses.retrieve(second.id)).status == "queued"
    assert (await client.responses.cancel(second.id)).output == []
    await client.responses.cancel(first.id)

    async def is_cancelled() -> bool:
        return (await client.responses.retrieve(second.id)).status == "cancelled"

    await eventually(is_cancelled)


async def recall(client: AsyncOpenAI, **body: Any) -> tuple[str, list[list[str]]]:
    """A response's id, and what the model was told of before."""
    told = await client.responses.create(**{"model": "remembering", "input": "?"} | body)
    return told.id, json.loads(told.output_text)


async def test_previous_response_goes_on_in_its_session_with_all_that_was_said(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="echo", input="one")
    id, told = await recall(client, previous_response_id=first.id)
    assert told == [["user", "one"], ["assistant", "one"]]
    _, told = await recall(client, previous_response_id=id)
    assert told[2:] == [
        ["user", "?"],
        ["assistant", '[["user","one"],["assistant","one"]]'.replace(",", ", ")],
    ]


async def test_items_are_the_conversation_before(client: AsyncOpenAI) -> None:
    items = [
        {"role": "user", "content": "weather?"},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "rain"},
        {"role": "user", "content": [{"type": "input_text", "text": "and now?"}]},
    ]
    _, told = await recall(client, input=items)
    assert told == [["user", "weather?"], ["assistant", None], ["tool", "rain"]]


async def test_session_may_be_named_and_is_told(client: AsyncOpenAI, http: httpx.AsyncClient) -> None:
    named = await client.responses.with_raw_response.create(
        model="echo", input="one", extra_headers={"X-Session-Id": "s"}
    )
    assert named.headers["x-session-id"] == "s"
    history = (await http.get("/v1/sessions/s/messages")).json()["messages"]
    assert [row["content"] for row in history] == ["one", "one"]
    assert history[0]["message_id"] == named.headers["x-message-id"]


async def test_calls_are_items_that_a_client_runs(client: AsyncOpenAI) -> None:
    told = await client.responses.create(model="calling_two", input="go", tools=[WEATHER])
    assert [(item.type, item.name, item.arguments) for item in told.output] == [  # type: ignore[union-attr]
        ("function_call", name, arguments) for name, arguments in calls()
    ]
    stream = await client.responses.create(model="calling_two", input="go", tools=[WEATHER], stream=True)
    done = [
        event
        for event in (await Heard().follow(stream)).events
        if event.type == "response.function_call_arguments.done"
    ]
    assert [(event.name, event.arguments) for event in done] == calls()


async def test_response_that_failed_says_why(client: AsyncOpenAI) -> None:
    told = await client.responses.create(model="raising", input="go")
    assert told.status == "failed"
    assert told.error is not None
    assert "attempts" in told.error.message


REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
    ({"previous_response_id": "resp_1_s_nobody"}, openai.NotFoundError, "unknown_response"),
    ({"previous_response_id": "resp_*"}, openai.NotFoundError, "unknown_response"),
    ({"model": "nobody's"}, openai.NotFoundError, "model_not_found"),
    ({"input": 5}, openai.BadRequestError, "invalid_value"),
    ({"temperature": 3}, openai.BadRequestError, "invalid_value"),
    ({"conversation": "c"}, openai.UnprocessableEntityError, "unsupported"),
    ({"tools": [{"type": "web_search"}]}, openai.UnprocessableEntityError, "unsupported"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        openai.UnprocessableEntityError,
        "unsupported",
    ),
    ({"extra_headers": {"X-Session-Id": "a.>"}}, openai.UnprocessableEntityError, "invalid_id"),
]


@pytest.mark.parametrize(("body", "kind", "code"), REFUSED)
async def test_refusals_are_exceptions_of_the_client(
    client: AsyncOpenAI, body: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as raised:
        await client.responses.create(**{"model": "echo", "input": "hi"} | body)
    assert raised.value.code == code
    assert raised.value.message


async def test_responses_that_nobody_knows_are_not_found(client: AsyncOpenAI) -> None:
    for id in ("resp_1_s_nobody", "resp_x", "resp_1_s_a.b"):
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(id, stream=True)
        with pytest.raises(openai.NotFoundError):
            await client.responses.cancel(id)


async def test_same_key_is_the_same_response(client: AsyncOpenAI) -> None:
    key = {"extra_headers": {"Idempotency-Key": "a key of mine"}}
    first = await client.responses.create(model="echo", input="one", **key)  # type: ignore[call-overload]
    assert await client.responses.create(model="echo", input="one", **key) == first  # type: ignore[call-overload]
    heard = await Heard().follow(
        await client.responses.create(model="echo", input="one", stream=True, **key)  # type: ignore[call-overload]
    )
    assert heard.events[-1].response == first
    with pytest.raises(openai.UnprocessableEntityError):
        await client.responses.create(model="echo", input="two", **key)  # type: ignore[call-overload]


async def test_schema_as_deep_as_is_taken_is_answered_and_a_deeper_one_is_refused(
    client: AsyncOpenAI,
) -> None:
    """It lies deeper in the request that workers get: what they refuse must not have been accepted."""

    async def outcome(depth: int) -> str | None:
        schema: Any = {}
        for _ in range(depth):
            schema = {"a": schema}
        tool = WEATHER | {"parameters": schema}
        try:
            return (await client.responses.create(model="echo", input="hi", tools=[tool])).status
        except openai.BadRequestError as error:
            return error.code

    outcomes = [await outcome(depth) for depth in range(20, 34)]
    taken = outcomes.count("completed")
    assert taken
    assert outcomes == ["completed"] * taken + ["not_json"] * (14 - taken)
