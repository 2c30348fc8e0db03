"""The official SDK at a pod, and what a conversation is to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from tests.support.waiting import eventually


def said(*texts: str) -> Any:
    """A conversation of these, which a user begins and ends."""
    return [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)
    ]


@asynccontextmanager
async def sdk(url: str, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """The SDK as anybody uses it, at the pod with that URL."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", **options) as client:
        yield client


async def text_of(stream: AsyncStream[ChatCompletionChunk]) -> str:
    """What a stream says, to its end."""
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def rows(client: httpx.AsyncClient, session_id: str) -> list[dict[str, Any]]:
    """The session's native history; none where there is no session."""
    answer = await client.get(f"/v1/sessions/{session_id}/messages")
    messages: list[dict[str, Any]] = answer.json()["messages"] if answer.status_code == 200 else []
    return messages


async def wait_answering(client: httpx.AsyncClient, session_id: str) -> None:
    """Until the session's last answer has begun."""

    async def has_begun() -> bool:
        found = await rows(client, session_id)
        return bool(found) and bool(found[-1]["content"])

    await eventually(has_begun, timeout=20, message=f"a beginning of the answer in {session_id}")
