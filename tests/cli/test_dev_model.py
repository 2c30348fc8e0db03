"""`chatmesh dev --model`: a model at a server, or a small real one that comes along, without a configuration file."""

from __future__ import annotations

from typing import Any

import httpx
import psutil
import pytest

from chatmesh.devmodel import INSTALL, weights
from tests.cli.support import Chatmesh, StartProcess, is_alive, start_dev
from tests.providers.dialects import ANTHROPIC, OPENAI, Dialect
from tests.providers.upstreams import Upstream, stream, upstream
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually


async def asked(url: str, message: str = "hi", **body: Any) -> Reading:
    """One message that names no model, and its answer."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client, events(client, "s") as reader:
        assert (await post(client, "s", message, **body)).status_code == 202
        return await reader.read_finals()


def arguments(kind: str, server: Upstream) -> list[str]:
    """How the model "m" of that server is named."""
    if kind == "address":
        return ["--model", f"{server.url}/v1#m"]
    base = f"{server.url}/v1" if kind == "openai" else server.url
    return ["--model", f"{kind}:m", "--set", f"models.m.base_url={base}"]


@pytest.mark.parametrize(
    ("kind", "dialect"), [("address", OPENAI), ("openai", OPENAI), ("anthropic", ANTHROPIC)]
)
async def test_model_of_a_server_answers_with_the_key_of_the_environment(
    chatmesh: StartProcess, kind: str, dialect: Dialect
) -> None:
    async with upstream(stream(dialect.answer("Good ", "day"))) as server:
        env = {"OPENAI_API_KEY": "sk-mine", "ANTHROPIC_API_KEY": "sk-mine"}
        dev = await start_dev(chatmesh, "--ephemeral", *arguments(kind, server), env=env)
        reading = await asked(dev.url)
    assert reading.text == "Good day"
    assert reading.finals[0]["metadata"]["model"] == server.asked[0].body["model"] == "m"
    assert "sk-mine" in " ".join(server.asked[0].headers.values())
    assert "sk-mine" not in dev.process.stdout + dev.process.stderr


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("openai:gpt-4o", "export OPENAI_API_KEY="),
        ("anthropic:claude", "export ANTHROPIC_API_KEY="),
        ("openai:", "--model openai:NAME"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1#llama3.2"),
        ("nobody", "default_model"),
    ],
)
def test_model_that_can_not_be_had_is_refused_with_what_to_do(call: Chatmesh, model: str, said: str) -> None:
    done = call("dev", "--ephemeral", "--model", model, env={"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""})
    assert done.code == 2
    assert said in done.stderr


def test_local_model_that_is_not_installed_says_how_to_install_it(
    call: Chatmesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatmesh.devmodel.process.weights", lambda: None)
    done = call("dev", "--ephemeral", "--model", "smollm2")
    assert done.code == 2
    assert INSTALL in done.stderr


@pytest.mark.skipif(weights() is None, reason=f"needs a real model: {INSTALL}")
async def test_local_model_answers_offline_and_leaves_with_the_command(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral", "--model", "smollm2")
    children = [child.pid for child in psutil.Process(dev.process.pid).children(recursive=True)]
    assert len(children) == 2
    reading = await asked(dev.url, "What is the capital of France?", max_tokens=12)
    assert len(reading.text.split()) > 3
    assert reading.finals[0]["metadata"]["usage"]["completion_tokens"] > 3
    dev.process.kill()
    await eventually(lambda: not any(map(is_alive, children)), message="the end of both servers")
