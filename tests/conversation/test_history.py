"""A model knows what was said in its session, whoever said it, wherever it was answered, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chatmesh.app import Mesh
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import models
from tests.support.reading import events, post

MODELS = models("remembering")


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, MODELS, "sessions.history_turns=3", id="one") as mesh:
        yield mesh


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as client:
        yield client


async def say(http: httpx.AsyncClient, message: str, session_id: str = "s", **body: Any) -> str:
    """The answer's text."""
    async with events(http, session_id) as stream:
        answer = await post(http, session_id, message, **({"model": "echo"} | body))
        assert answer.status_code == 202, answer.text
        reading = await stream.read_finals()
    return reading.text


async def recall(http: httpx.AsyncClient, session_id: str = "s", **body: Any) -> list[list[str]]:
    """What the model was told of the session."""
    told: list[list[str]] = json.loads(await say(http, "?", session_id, model="remembering", **body))
    return told


async def test_model_is_told_what_was_said_before_in_its_session(http: httpx.AsyncClient) -> None:
    assert await recall(http) == []
    await say(http, "one")
    await say(http, "elsewhere", "other")
    assert await recall(http) == [["user", "?"], ["assistant", "[]"], ["user", "one"], ["assistant", "one"]]


async def test_model_is_told_the_newest_turns_only(http: httpx.AsyncClient) -> None:
    for word in ("one", "two", "three", "four"):
        await say(http, word)
    told = await recall(http)
    assert told == [[role, word] for word in ("two", "three", "four") for role in ("user", "assistant")]


async def test_history_that_the_request_brings_is_used_instead(http: httpx.AsyncClient) -> None:
    await say(http, "one")
    history = [{"role": "user", "content": "brought"}]
    body = {"message": "?", "context": {"model": "remembering", "conversation_history": history}}
    async with events(http, "s") as stream:
        await http.post("/v1/sessions/s/messages", json=body)
        reading = await stream.read_finals()
    assert json.loads(reading.text) == [["user", "brought"]]


async def test_stopped_answer_counts_as_far_as_it_was_shown(http: httpx.AsyncClient) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", "go", message_id="m1", model="count", tokens_per_second=0.01)
        await stream.read(1)
        await post(http, "s", "never mind", message_id="m2", model="count")
        await http.delete("/v1/sessions/s/messages/m2")
        await http.delete("/v1/sessions/s/messages/m1")
        await stream.read_finals(2)
    told = await recall(http)
    assert ["user", "go"] in told
    assert ["assistant", "1 "] in told
    assert ["user", "never mind"] in told


async def test_erased_session_is_forgotten(http: httpx.AsyncClient) -> None:
    await say(http, "a secret")
    assert (await http.delete("/v1/sessions/s")).status_code == 202
    assert await recall(http) == []
    assert await recall(http) == [["user", "?"], ["assistant", "[]"]]


async def test_conversation_goes_on_with_another_worker(
    broker: Broker, http: httpx.AsyncClient, mesh: Mesh
) -> None:
    await say(http, "one")
    mesh.tree.drain()
    async with running(broker.url, MODELS, id="two") as other, client_of(other) as there:
        assert await recall(there) == [["user", "one"], ["assistant", "one"]]
