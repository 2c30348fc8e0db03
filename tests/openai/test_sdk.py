"""The official Python SDK, unmodified, at a mesh: what it asks for is what it gets."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest
from openai import OpenAI

from chatmesh.app import Mesh
from tests.openai.support import said, sdk, text_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, models_known, running
from tests.support.models import models
from tests.support.waiting import eventually

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None
    return mesh.server.url


def all_of_it(url: str) -> tuple[list[str], str | None, str]:
    """Models, a whole answer and a streamed one, by the SDK for those who don't await."""
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        names = [model.id for model in client.models.list()]
        whole = client.chat.completions.create(model="echo", messages=said("one two"))
        with client.chat.completions.create(model="echo", messages=said("three"), stream=True) as stream:
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    return names, whole.choices[0].message.content, streamed


async def test_sync_sdk_lists_models_and_gets_whole_and_streamed_answers(broker: Broker) -> None:
    async with running(broker.url) as mesh:
        names, whole, streamed = await asyncio.to_thread(all_of_it, url_of(mesh))
    assert names == ["count", "demo", "echo"]
    assert (whole, streamed) == ("one two", "three")


async def test_async_sdk_gets_whole_and_streamed_answers_with_their_usage(broker: Broker) -> None:
    async with running(broker.url) as mesh, sdk(url_of(mesh)) as client:
        whole = await client.chat.completions.create(model="count", messages=said("x"), max_tokens=3)
        assert whole.choices[0].message.content == "1 2 3 "
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 3
        stream = await client.chat.completions.create(
            model="count",
            messages=said("x"),
            max_completion_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "1 2 3 "
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage == whole.usage
        assert (await client.models.retrieve("echo")).id == "echo"


async def test_model_is_told_the_whole_conversation_and_every_parameter(broker: Broker) -> None:
    conversation = [{"role": "system", "content": "be brief"}, *said("a", "b", "c")]
    async with running(broker.url, models("telling")) as mesh, sdk(url_of(mesh)) as client:
        answer = await client.chat.completions.create(
            model="telling",
            messages=conversation,
            temperature=0.5,
            top_p=0.9,
            stop=["END"],
            seed=7,
            max_completion_tokens=50,
            user="ann",
            n=1,
            extra_body={"top_k": 3},
        )
    told = json.loads(answer.choices[0].message.content or "")
    assert told == {
        "message": "c",
        "user_id": "ann",
        "history": said("a", "b"),
        "context": {
            "model": "telling",
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["END"],
            "seed": 7,
            "max_tokens": 50,
            "top_k": 3,
            "system_prompt": "be brief",
            "conversation_history": said("a", "b"),
        },
    }


async def test_tool_calls_and_their_results_are_carried_through(broker: Broker) -> None:
    async with running(broker.url, models("calling", "telling")) as mesh, sdk(url_of(mesh)) as client:
        asked = {"model": "calling", "messages": said("weather?"), "tools": TOOLS}
        whole = await client.chat.completions.create(**asked)
        message = whole.choices[0].message
        assert message.content is None
        assert whole.choices[0].finish_reason == "tool_calls"
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (7, 5)
        (call,) = message.tool_calls or []
        assert call.model_dump() == {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
        }
        stream = await client.chat.completions.create(**asked, stream=True)
        calls = [c.choices[0].delta.tool_calls or [] async for c in stream]
        assert "".join(f.function.arguments or "" for piece in calls for f in piece if f.function) == (
            '{"city": "Graz"}'
        )
        conversation = [
            *said("weather?"),
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ]
        answer = await client.chat.completions.create(model="telling", messages=conversation)
        told = json.loads(answer.choices[0].message.content or "")
        assert (told["message"], told["history"]) == ("", conversation)


REFUSED = [
    ({"model": "nobody"}, openai.NotFoundError, "model_not_found", "model"),
    ({"messages": []}, openai.BadRequestError, "invalid_value", "messages"),
    (
        {"messages": [{"role": "boss", "content": ""}]},
        openai.BadRequestError,
        "invalid_value",
        "messages[0].role",
    ),
    (
        {"messages": [{"role": "user", "content": 3}]},
        openai.BadRequestError,
        "invalid_value",
        "messages[0].content",
    ),
    ({"temperature": 3}, openai.BadRequestError, "invalid_value", "temperature"),
    ({"n": 2}, openai.BadRequestError, "invalid_value", "n"),
    (
        {"metadata": {"session_id": "a.b"}},
        openai.UnprocessableEntityError,
        "invalid_id",
        "metadata.session_id",
    ),
    ({"extra_headers": {"X-Session-Id": "*"}}, openai.UnprocessableEntityError, "invalid_id", "X-Session-Id"),
    ({"extra_body": {"x": [[]]}, "messages": said("y" * 70_000)}, openai.APIStatusError, "too_large", None),
]


@pytest.mark.parametrize(("wrong", "kind", "code", "param"), REFUSED)
async def test_refusals_are_the_exceptions_of_the_sdk(
    broker: Broker, wrong: dict[str, object], kind: type[openai.APIStatusError], code: str, param: str | None
) -> None:
    async with (
        running(broker.url, "http.max_body_bytes=65536") as mesh,
        client_of(mesh) as http,
        sdk(url_of(mesh)) as client,
    ):
        await models_known(http)
        with pytest.raises(kind) as refused:
            await client.chat.completions.create(**({"model": "echo", "messages": said("hi")} | wrong))
    assert (refused.value.code, refused.value.param) == (code, param)
    assert refused.value.request_id


async def test_busy_sessions_are_the_exceptions_of_the_sdk_too(broker: Broker) -> None:
    asked = {"model": "count", "messages": said("x"), "extra_headers": {"X-Session-Id": "s"}}
    async with (
        running(broker.url, "sessions.queue_limit=1") as mesh,
        client_of(mesh) as http,
        sdk(url_of(mesh), max_retries=0) as client,
    ):
        for _ in range(2):
            body = {"message": "x", "context": {"model": "count", "tokens_per_second": 1}}
            assert (await http.post("/v1/sessions/s/messages", json=body)).status_code == 202
        with pytest.raises(openai.RateLimitError) as full:
            await client.chat.completions.create(**asked)
        assert full.value.code == "session_queue_full"
        assert full.value.response.headers["retry-after"] == "2"
        with pytest.raises(openai.UnprocessableEntityError) as busy:
            await client.chat.completions.create(**asked, extra_body={"on_busy": "reject"})
        assert busy.value.code == "session_busy"
        await http.delete("/v1/sessions/s")  # else it would answer on, and the worker wait for it


async def test_what_was_not_accepted_may_be_sent_again_and_says_when(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, sdk(url_of(mesh), max_retries=0) as client:
        broker.stop()
        await eventually(lambda: not mesh.is_ready)
        with pytest.raises(openai.InternalServerError) as away:
            await client.chat.completions.create(model="echo", messages=said("x"))
    assert (away.value.status_code, away.value.code) == (503, "broker_away")
    assert away.value.response.headers["retry-after"]
    assert "x-should-retry" not in away.value.response.headers


async def test_failed_answer_is_an_exception_and_the_sdk_does_not_ask_again(broker: Broker) -> None:
    session = {"X-Session-Id": "s"}
    async with (
        running(broker.url, models("refusing")) as mesh,
        client_of(mesh) as http,
        sdk(url_of(mesh)) as client,
    ):
        with pytest.raises(openai.InternalServerError, match="out of order") as failed:
            await client.chat.completions.create(model="refusing", messages=said("x"), extra_headers=session)
        assert (failed.value.status_code, failed.value.code) == (502, "provider_down")
        assert failed.value.response.headers["x-should-retry"] == "false"
        assert failed.value.response.headers["x-session-id"] == "s"
        assert len((await http.get("/v1/sessions/s/messages")).json()["messages"]) == 2
        stream = await client.chat.completions.create(
            model="refusing", messages=said("x"), stream=True, extra_headers=session
        )
        with pytest.raises(openai.APIError, match="out of order"):
            await text_of(stream)


async def test_whatever_is_wrong_below_these_addresses_is_said_in_openais_shape(broker: Broker) -> None:
    path = "/v1/chat/completions"
    async with running(broker.url) as mesh, client_of(mesh) as http:
        answers: list[tuple[httpx.Response, int, str]] = [
            (await http.get(path), 405, "method_not_allowed"),
            (await http.get(f"{path}/none"), 404, "not_found"),
            (await http.get("/v1/models/none"), 404, "model_not_found"),
            (await http.post(path, content=b"{}"), 415, "not_json_type"),
            (
                await http.post(path, content=b"{", headers={"Content-Type": "application/json"}),
                400,
                "not_json",
            ),
            (await http.post(path, json=[]), 400, "invalid_value"),
        ]
    for answer, status, code in answers:
        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == code
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
