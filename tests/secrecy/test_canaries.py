"""What people say, what models answer and what opens doors is in no log, no metric, no error and no operator's list.

Each secret word is one of its own, so that a leak names its source. Processes log everything (`debug`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from tests.faults.conftest import new_pod, new_worker  # noqa: F401 - fixtures
from tests.faults.support import Pod, StartPod, StartWorker, dead_letters
from tests.operate.support import Start, finished
from tests.providers.dialects import OPENAI
from tests.providers.upstreams import HANG_UP, STREAM_HEAD, chunked, status, stream, upstream
from tests.support.broker import Broker
from tests.support.processes import Process
from tests.support.reading import events
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

DEBUG = "log.level=debug"


class Canaries:
    """`of(place)` is the secret word of a place."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def of(self, place: str) -> str:
        return self.words.setdefault(
            place, f"CANARY{len(self.words):02d}{place.replace('-', '').upper()}YRANAC"
        )

    def found_in(self, text: str) -> list[str]:
        return [place for place, word in self.words.items() if word.lower() in text.lower()]


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


def outputs(*processes: Process) -> Iterator[tuple[str, str]]:
    for process in processes:
        yield f"{process.name} stdout", process.stdout
        yield f"{process.name} stderr", process.stderr


async def say(
    client: httpx.AsyncClient, session: str, message_id: str, text: str, context: dict[str, Any]
) -> httpx.Response:
    body = {"message": text, "message_id": message_id, "context": context}
    return await client.post(f"/v1/sessions/{session}/messages", json=body)


@asynccontextmanager
async def mesh(
    pod: StartPod, worker: StartWorker, api_key: str, url: str
) -> AsyncIterator[tuple[Pod, Process]]:
    """A pod and a worker as processes; the model `good` is at that server."""
    model = {"provider": "openai", "base_url": f"{url}/v1", "api_key": api_key, "retries": 1}
    started = await worker("w", DEBUG, f"models={json.dumps({'good': model})}")
    yield await pod("p", DEBUG), started


async def test_nothing_that_anybody_said_is_in_any_output(
    broker: Broker,
    nats_client: Client,
    new_pod: StartPod,  # noqa: F811
    new_worker: StartWorker,  # noqa: F811
    chatmesh: Start,
    canaries: Canaries,
) -> None:
    said, answered = canaries.of("prompt"), canaries.of("answer")
    error = {"error": {"message": f"no: {canaries.of('upstream-error')}", "type": "x", "code": "y"}}
    scripts = [
        stream(OPENAI.answer(f"{answered} ", "and more")),
        status(500, error),
        status(500, error),
        [STREAM_HEAD, chunked(OPENAI.begin + OPENAI.say(f"{canaries.of('half-answer')} ")), HANG_UP],
        stream(f"data: {{broken {canaries.of('malformed-stream')}\n\n".encode()),
        status(401, error),
    ]
    context = {
        "model": "good",
        "system_prompt": canaries.of("system-prompt"),
        "conversation_history": [{"role": "user", "content": canaries.of("history")}],
        "tools": [{"type": "function", "function": {"name": "f", "description": canaries.of("tool")}}],
        "anything": canaries.of("unknown-key"),
    }
    outside = {
        "User-Agent": canaries.of("user-agent"),
        "Authorization": f"Bearer {canaries.of('bearer')}",
        "X-Api-Key": canaries.of("api-key"),
        "Cookie": f"a={canaries.of('cookie')}",
        "X-Whatever": canaries.of("header"),
        "traceparent": canaries.of("traceparent"),
    }
    seen: list[tuple[str, str]] = []
    async with (
        upstream(*scripts) as server,
        mesh(new_pod, new_worker, canaries.of("provider-key"), server.url) as (pod, worker),
        pod.client() as client,
    ):
        client.headers.update(outside)
        for number in range(1, len(scripts)):
            async with events(client, f"s{number}") as reader:
                assert (await say(client, f"s{number}", "m", said, context)).status_code == 202
                await reader.read_finals()
        assert answered in (await client.get("/v1/sessions/s1/messages")).text, "else nothing was planted"

        async def refusal(name: str, answer: httpx.Response) -> None:
            assert answer.status_code >= 400, name
            seen.append((f"refusal {name}", answer.text + str(answer.headers)))

        path = "/v1/sessions/s1/messages"
        json_type = {"Content-Type": "application/json"}
        garbage = f'{{"message": {canaries.of("not-json")}'.encode()
        await refusal("not json", await client.post(path, content=garbage, headers=json_type))
        await refusal("not text", await client.post(path, json={"message": {"a": canaries.of("not-text")}}))
        wrong = {"message": "x", "context": {"temperature": canaries.of("not-a-number")}}
        await refusal("not a number", await client.post(path, json=wrong))
        await refusal("conflict", await say(client, "s1", "m", canaries.of("conflict"), {}))
        chat = {"model": "good", "messages": [{"role": canaries.of("not-a-role"), "content": "x"}]}
        await refusal("not a role", await client.post("/v1/chat/completions", json=chat))
        await refusal("route", await client.get(f"/{canaries.of('path')}?q={canaries.of('query')}"))
        await refusal("cursor", await client.get(f"{path}?after={canaries.of('cursor')}"))
        async with events(client, "s1", last_event_id=canaries.of("position")) as reader:
            await reader.read(0)
        # What a foreign pod queues and nobody can read becomes a dead letter.
        await nats_client.jetstream().publish(
            "chat.workflow.execute.s9",
            f'{{"message": "{canaries.of("dead-letter")}", '.encode(),
            headers={"X-Foreign": canaries.of("nats-header")},
        )
        await eventually(lambda: dead_letters(nats_client))
        await nats_client.publish(
            "chat.pod.p.response", f'{{"chunk": "{canaries.of("stray-chunk")}"'.encode()
        )
        await nats_client.publish("chat.session.s1.broadcast", canaries.of("stray-broadcast").encode())
        await nats_client.flush()
        seen.append(("metrics", (await client.get("/metrics")).text))
        for command in ("dlq list", "usage", "doctor", "verify s1", "streams ensure", "health p"):
            _, process = await finished(chatmesh, *command.split(), "--set", f"nats.servers={broker.url}")
            seen += outputs(process)
        for each in (pod.process, worker):
            await each.terminate()
        seen += outputs(pod.process, worker)
    log = worker.stderr + pod.process.stderr
    assert '"event": "workflow.turn"' in log
    assert '"event": "web.request"' in log
    assert len(canaries.words) > 25
    assert {place: found for place, text in seen if (found := canaries.found_in(text))} == {}


async def test_what_opens_doors_is_shown_by_no_command(chatmesh: Start, canaries: Canaries) -> None:
    settings = {
        "nats.user": "u",
        "nats.password": canaries.of("nats-password"),
        "models": json.dumps(
            {"m": {"provider": "openai", "base_url": "http://127.0.0.1:1/v1", "api_key": canaries.of("key")}}
        ),
    }
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    seen = []
    for command in ("config show", "check", "run --role pod --set nats.connect_seconds=0.2", "doctor"):
        _, process = await finished(
            chatmesh, *command.split(), "--set", "nats.servers=nats://127.0.0.1:1", *given
        )
        seen += outputs(process)
    for wrong in ("nats.servers=nats://u:{}@h:1", "nats.tokn={}", "nats.token_file=/{}/none", "http.port={}"):
        broken = wrong.format(canaries.of(wrong.partition("=")[0].replace(".", "")))
        _, process = await finished(chatmesh, "check", *given, "--set", broken)
        if "port" not in wrong and "file" not in wrong:  # the values of these are no secrets, and are told
            seen += outputs(process)
    assert any("***" in text for _, text in seen)
    assert {place: found for place, text in seen if (found := canaries.found_in(text))} == {}
