"""OpenAI's own client, as anybody installs it, and what it heard of a response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from openai import AsyncOpenAI


@asynccontextmanager
async def openai_of(url: str) -> AsyncIterator[AsyncOpenAI]:
    """A client of the pod at `url` that gives up at the first failure."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


@dataclass
class Heard:
    """Events of a response, as the client gave them, over as many connections as it took."""

    events: list[Any] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        return [event.sequence_number for event in self.events]

    @property
    def types(self) -> list[str]:
        return [event.type.removeprefix("response.") for event in self.events]

    @property
    def text(self) -> str:
        return "".join(event.delta for event in self.events if event.type == "response.output_text.delta")

    @property
    def told(self) -> list[dict[str, Any]]:
        return [event.to_dict() for event in self.events]

    async def follow(self, stream: Any, count: int | None = None) -> Heard:
        """`count` more events, or all there are; then leaves."""
        async with stream:
            async for event in stream:
                self.events.append(event)
                if count is not None:
                    count -= 1
                    if not count:
                        break
        return self

    async def follow_past(self, stream: Any, count: int, happens: Callable[[], Awaitable[object]]) -> Heard:
        """All there are; behind the first `count` something happens."""
        async with stream:
            async for event in stream:
                self.events.append(event)
                if len(self.events) == count:
                    await happens()
        return self
