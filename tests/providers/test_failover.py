"""A model's server fails before it begins or in mid-answer: another one goes on, and the reader has one answer."""

from __future__ import annotations

import json

import pytest
from nats.aio.client import Client

from tests.faults.support import claims, wait_queue_empty
from tests.providers.dialects import ANTHROPIC, OPENAI
from tests.providers.upstreams import HANG_UP, STREAM_HEAD, Step, chunked, data, status, stream, upstream
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post

HALF = chunked(OPENAI.begin + OPENAI.say("One two three ") + OPENAI.say("four five "))

BREAKS: dict[str, tuple[list[Step], str]] = {
    "cut": ([STREAM_HEAD, HALF, HANG_UP], "provider_incomplete"),
    "an end without a reason": (
        stream(OPENAI.begin + OPENAI.say("One two three ") + OPENAI.say("four five ")),
        "provider_incomplete",
    ),
    "stall": ([STREAM_HEAD, HALF, None], "provider_timeout"),
    "what is no JSON": ([STREAM_HEAD, HALF, chunked(data("?")), None], "provider_invalid"),
    "an error event": (
        [STREAM_HEAD, HALF, chunked(data(json.dumps({"error": {"message": "busy", "code": 503}}))), None],
        "provider_overloaded",
    ),
}


def two(first: str, second: str, idle_seconds: float = 60, **more: object) -> str:
    """The setting: `m` at an OpenAI-compatible server, and behind it `n` at Anthropic's."""
    keys = {"api_key": "sk-x", "retries": 0}
    one = keys | {"provider": "openai", "base_url": f"{first}/v1", "fallbacks": ["n"]}
    one["idle_seconds"] = idle_seconds
    other = keys | {"provider": "anthropic", "base_url": second, "aliases": ["spare"]} | more
    return f"models={json.dumps({'m': one, 'n': other})}"


@pytest.mark.parametrize(("script", "code"), BREAKS.values(), ids=BREAKS.keys())
async def test_another_server_goes_on_in_mid_answer(
    broker: Broker, nats_client: Client, script: list[Step], code: str
) -> None:
    rest = stream(ANTHROPIC.answer("three four five", " six", " seven"))
    # Where the server is not to be silent, a busy machine may be.
    idle_seconds = 0.5 if code == "provider_timeout" else 60
    async with (
        upstream(script) as first,
        upstream(rest) as second,
        running(broker.url, two(first.url, second.url, idle_seconds), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        message_id = (await post(http, "s", "count", model="m")).json()["message_id"]
        reading = await reader.read_finals()
        await wait_queue_empty(nats_client)
        assert len(await claims(nats_client, "s", message_id)) == 1
        rows = (await http.get("/v1/sessions/s/messages")).json()["messages"]
    assert reading.text == rows[1]["content"] == "One two three four five six seven"
    assert reading.ids == list(range(len(reading.ids)))
    assert not reading.named("reset")
    metadata = reading.finals[0]["metadata"]
    assert (metadata["model"], metadata["attempt"], metadata["finish_reason"]) == ("n", 1, "stop")
    assert metadata["failed_over"] == [{"model": "m", "code": code}]
    assert [message["content"] for message in second.asked[0].body["messages"]][
        1
    ] == "One two three four five "


@pytest.mark.parametrize("number", [401, 429, 500])
async def test_another_server_answers_where_the_first_one_refuses(broker: Broker, number: int) -> None:
    async with (
        upstream(status(number, {})) as first,
        upstream(stream(ANTHROPIC.answer("Hello."))) as second,
        running(broker.url, two(first.url, second.url), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        await post(http, "s", model="m")
        reading = await reader.read_finals()
    assert reading.text == "Hello."
    assert reading.finals[0]["metadata"]["failed_over"][0]["model"] == "m"


async def test_request_that_is_refused_for_itself_goes_nowhere_else(broker: Broker) -> None:
    async with (
        upstream(status(400, {"error": {"message": "too long"}})) as first,
        upstream(stream(ANTHROPIC.answer("Hello."))) as second,
        running(broker.url, two(first.url, second.url), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        await post(http, "s", model="m")
        reading = await reader.read_finals()
    assert reading.finals[0]["error"]["code"] == "provider_refused"
    assert not second.asked


async def test_server_that_can_only_begin_anew_takes_back_what_was_shown(broker: Broker) -> None:
    async with (
        upstream([STREAM_HEAD, HALF, HANG_UP]) as first,
        upstream(stream(ANTHROPIC.answer("Another answer."))) as second,
        running(broker.url, two(first.url, second.url, continuation="restart"), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        await post(http, "s", model="m")
        reading = await reader.read_finals()
        content = (await http.get("/v1/sessions/s/messages")).json()["messages"][1]["content"]
    assert content == "Another answer."
    assert [reset["reason"] for reset in reading.named("reset")] == ["restarted"]
    assert reading.text.startswith("One two three four five ")
    assert reading.ids == list(range(len(reading.ids)))
