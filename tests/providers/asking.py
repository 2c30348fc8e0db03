"""Short ways to ask a provider and to see what it said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest

from chatmesh.errors import ProviderError
from chatmesh.providers import Delta, Prompt, Provider, Resume

PROMPT = Prompt("m", "hi")

PATIENCE_SECONDS = 30


@asynccontextmanager
async def closing(provider: Provider) -> AsyncIterator[Provider]:
    try:
        yield provider
    finally:
        await provider.aclose()


def begun(provider: Provider, prompt: Prompt = PROMPT, resume: Resume | None = None) -> Any:
    """The deltas, closed at the end of a `with`."""
    deltas = provider.generate(prompt, resume or Resume())
    return aclosing(cast("AsyncGenerator[Delta, None]", deltas))


async def said(provider: Provider, prompt: Prompt = PROMPT, resume: Resume | None = None) -> list[Delta]:
    """Everything, up to the delta with a finish reason, as a generation reads it. Fails where that takes longer than any
    of the times in a test that wants one to be short."""
    found: list[Delta] = []
    async with asyncio.timeout(PATIENCE_SECONDS), begun(provider, prompt, resume) as deltas:
        async for delta in deltas:
            found.append(delta)
            if delta.finish_reason is not None:
                break
    return found


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def failure(provider: Provider, prompt: Prompt = PROMPT, resume: Resume | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await said(provider, prompt, resume)
    return caught.value
