"""A real model: llama.cpp's own server, with what it really sends. Skipped where it is not installed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chatmesh.devmodel import INSTALL, NAME, local_model, weights
from chatmesh.providers import Prompt, Resume
from chatmesh.providers.base import Continuation
from chatmesh.providers.openai import Openai
from tests.providers.asking import begun, closing, failure, said, text
from tests.providers.dialects import SETTINGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(weights() is None, reason=f"needs a real model: {INSTALL}"),
]

COUNT = "Count from 1 to 20, separated by commas. Write nothing else."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One server for all of them: it takes seconds to load."""
    with local_model() as address:
        yield address


def provider(url: str, **changes: Any) -> Openai:
    return Openai(replace(SETTINGS, base_url=f"{url}/v1", model=NAME, first_token_seconds=120, **changes))


def prompt(message: str, **context: Any) -> Prompt:
    return Prompt("m", message, {"temperature": 0, **context})


async def test_real_answer_comes_in_tokens_with_its_usage(url: str) -> None:
    async with closing(provider(url)) as model:
        deltas = await said(model, prompt(COUNT, max_tokens=16))
    assert len(deltas) > 8
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.completion_tokens == 16


async def test_prefilled_model_goes_on_exactly_where_it_was_cut(url: str) -> None:
    async with closing(provider(url, continuation=Continuation.EXACT)) as model:
        for shown in ("1, 2, 3, 4,", "1, 2, 3, 4, "):
            rest = text(await said(model, prompt(COUNT, max_tokens=12), Resume(shown, 4)))
            assert (shown + rest).startswith("1, 2, 3, 4, 5, 6, 7")


async def test_stop_frees_the_model(url: str) -> None:
    async with closing(provider(url)) as model:
        async with begun(model, prompt("Tell a very long story.", max_tokens=1500)) as deltas:
            assert (await anext(deltas)).text
        # It has two slots: if it went on with stopped answers, the third of these would wait for minutes.
        for _ in range(4):
            async with begun(model, prompt("Tell a very long story.", max_tokens=1500)) as deltas:
                await asyncio.wait_for(anext(deltas), 60)


async def test_parameter_of_a_wrong_type_is_refused_in_its_own_words(url: str) -> None:
    async with closing(provider(url)) as model:
        error = await failure(model, Prompt("m", "hi", {"temperature": "hot"}))
    assert error.code == "provider_refused"
    assert "temperature" in error.what
