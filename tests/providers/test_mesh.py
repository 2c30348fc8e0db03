"""Models at servers behind a whole mesh: real broker, real sockets on both sides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
from nats.aio.client import Client

from tests.faults.support import ACK_WAIT, holder, start_worker, wait_queue_empty
from tests.providers.dialects import OPENAI, Dialect
from tests.providers.upstreams import STREAM_HEAD, chunked, data, status, stream, upstream
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.support.reading import events, post
from tests.support.waiting import eventually

KEY = "sk-hunter2-Zq"


def model(dialect: Dialect, url: str, **more: object) -> str:
    """The setting that makes `m` a model of the server at `url`, and a pattern beside it."""
    base = f"{url}/v1" if dialect.name == "openai" else url
    given = {"provider": dialect.name, "base_url": base, "api_key": KEY, "retries": 0}
    return f"models={json.dumps({'m': given | more, 'wild-*': given})}"


async def test_answer_of_a_server_reaches_the_reader_with_its_usage(broker: Broker, dialect: Dialect) -> None:
    async with upstream(stream(dialect.answer("grün ", "🙂"))) as server:
        async with (
            running(broker.url, model(dialect, server.url), id="me") as mesh,
            client_of(mesh) as http,
            events(http, "s") as reader,
        ):
            await post(http, "s", "hi", model="m", max_tokens=9)
            reading = await reader.read_finals()
            assert server.open == 1
        await eventually(lambda: server.open == 0, message="no connection of a worker that left")
    assert reading.text == "grün 🙂"
    metadata = reading.finals[0]["metadata"]
    assert (metadata["finish_reason"], metadata["model"]) == ("stop", "m")
    assert metadata["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    assert server.asked[0].body["model"] == "m"
    assert server.asked[0].body["max_tokens"] == 9


async def test_stop_reaches_the_server_of_a_silent_model(broker: Broker, dialect: Dialect) -> None:
    script = [STREAM_HEAD, chunked(dialect.begin + dialect.say("hm ")), None]
    async with (
        upstream(script) as server,
        running(broker.url, model(dialect, server.url), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        message_id = (await post(http, "s", model="m")).json()["message_id"]
        await reader.read(1)
        assert (await http.delete(f"/v1/sessions/s/messages/{message_id}")).status_code == 202
        await eventually(lambda: server.left == [True])
        reading = await reader.read_finals()
    assert reading.text == "hm "
    assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (status(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), "provider_auth"),
        (status(429, {}), "provider_rate_limited"),
        (status(400, {"error": {"message": f"no, {KEY}"}}), "provider_refused"),
        (stream(OPENAI.begin + OPENAI.say("half ")), "provider_incomplete"),
        (stream(data("?")), "provider_invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_failure_of_a_server_is_an_error_final_without_the_key(
    broker: Broker, script: list[bytes], code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (
        upstream(script) as server,
        running(broker.url, model(OPENAI, server.url), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        await post(http, "s", model="m")
        reading = await reader.read_finals()
        assert reading.finals[0]["error"]["code"] == code
        assert "hunter2" not in json.dumps(reading.chunks)
    assert "hunter2" not in "".join(capfd.readouterr())


async def test_name_that_fits_a_pattern_is_taken_and_another_refused_with_the_known_ones(
    broker: Broker,
) -> None:
    async with (
        upstream(stream(OPENAI.answer("x"))) as server,
        running(broker.url, model(OPENAI, server.url, aliases=["best"], model="big"), id="me") as mesh,
        client_of(mesh) as http,
        events(http, "s") as reader,
    ):
        await eventually(lambda: _refuses(http))
        for name in ("best", "wild-7"):
            assert (await post(http, "s", model=name)).status_code == 202
        refused = await post(http, "s", model="wilder")
        assert refused.status_code == 422
        assert refused.json()["models"] == ["best", "count", "demo", "echo", "m", "wild-*"]
        await reader.read_finals(2)
    assert [asked.body["model"] for asked in server.asked] == ["big", "wild-7"]


async def _refuses(http: httpx.AsyncClient) -> bool:
    """The worker's heartbeat has come: before, every name is taken."""
    return (await post(http, "other", model="nobody")).status_code == 422


@pytest.mark.slow
async def test_another_worker_goes_on_with_a_servers_answer_and_its_repetition_is_trimmed(
    broker: Broker, chatmesh: Callable[..., Process], nats_client: Client
) -> None:
    half = [
        STREAM_HEAD,
        chunked(OPENAI.begin + OPENAI.say("One two three ") + OPENAI.say("four five ")),
        None,
    ]
    rest = stream(OPENAI.answer("three four five", " six", " seven"))
    async with (
        upstream(half, rest) as server,
        running(broker.url, ACK_WAIT, role="pod", id="pod") as pod,
        client_of(pod) as http,
        events(http, "s") as reader,
    ):
        setting = model(OPENAI, server.url)
        workers = await asyncio.gather(
            *[start_worker(chatmesh, nats_client, broker.url, id, setting) for id in ("first", "second")]
        )
        await post(http, "s", "count", model="m")
        await reader.read(2)
        {"first": workers[0], "second": workers[1]}[await holder(nats_client, "s")].kill()
        reading = await reader.read_finals()
        await wait_queue_empty(nats_client)
    assert reading.text == "One two three four five six seven"
    assert not reading.named("reset")
    assert reading.finals[0]["metadata"]["attempt"] == 2
    assert [message["role"] for message in server.asked[1].body["messages"]] == ["user", "assistant", "user"]
    assert server.left[0] is True
