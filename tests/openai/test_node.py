"""The official SDK for Node, unmodified, in two versions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.openai.support import rows
from tests.openai.test_sdk import url_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import models
from tests.support.node import NODE, installed

PATIENCE_SECONDS = 60


@pytest.fixture(scope="session")
def programs() -> Path:
    return installed(Path(__file__).parent / "node", "npm's openai is")


@pytest.mark.parametrize("sdk", ["openai-7", pytest.param("openai-6", marks=pytest.mark.slow)])
async def test_node_sdk_gets_models_answers_tools_and_errors(
    broker: Broker, programs: Path, sdk: str
) -> None:
    async with running(broker.url, models("calling")) as mesh, client_of(mesh) as http:
        child = await asyncio.create_subprocess_exec(
            NODE,
            "talk.mjs",
            url_of(mesh),
            sdk,
            cwd=programs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, errors = await child.communicate()
        assert child.returncode == 0, errors.decode()
        contents = [row["content"] for row in await rows(http, "node") if row["role"] == "assistant"]
    got = json.loads(output)
    assert got.pop("usage") == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert got == {
        "models": ["calling", "count", "demo", "echo"],
        "whole": "one two three",
        "streamed": "1 2 3 4 5 ",
        "result": "rain in Graz",
        "failure": ["NotFoundError", 404, "model_not_found", "model"],
    }
    assert contents == ["one two three", "1 2 3 4 5 "]
