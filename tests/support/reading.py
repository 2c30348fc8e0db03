"""A reader for tests: what any SSE client does, with nothing of ours in it, and a record of all that came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

PATIENCE_SECONDS = 30
"""A reader to whom nothing comes for so long has a failed test, not a hanging one: keep-alives would go on for ever."""


@dataclass
class Reading:
    """Events as they came. `position` is what a client would send back as Last-Event-ID."""

    events: list[ServerSentEvent] = field(default_factory=list)
    position: str = ""

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in self.events if event.event == "message" and event.data]

    @property
    def text(self) -> str:
        return "".join(chunk["chunk"] for chunk in self.chunks if chunk["chunk_type"] == "content")

    @property
    def ids(self) -> list[int]:
        return [chunk["chunk_id"] for chunk in self.chunks]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [chunk for chunk in self.chunks if chunk["is_final"]]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The control events of one name."""
        return [json.loads(event.data) for event in self.events if event.event == name]


class Stream:
    """An open event stream. Iterate it for the next events; each is recorded in `reading`."""

    def __init__(self, response: httpx.Response, reading: Reading) -> None:
        self.response = response
        self.reading = reading
        self._events = EventSource(response).aiter_sse()

    async def next(self) -> ServerSentEvent:
        """The next event, the opening block not counted. Raises StopAsyncIteration at the end of the stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in self._events:
                if event.id:
                    self.reading.position = event.id
                if event.data:
                    self.reading.events.append(event)
                    return event
        raise StopAsyncIteration

    async def read(self, count: int) -> Reading:
        """`count` more events, or fewer where the stream ends."""
        for _ in range(count):
            try:
                await self.next()
            except StopAsyncIteration:
                break
        return self.reading

    async def read_finals(self, count: int = 1) -> Reading:
        """Until `count` final chunks were read in all, or the stream ends."""
        read = len(self.reading.finals)
        while read < count:
            try:
                event = await self.next()
            except StopAsyncIteration:
                break
            read += event.event == "message" and json.loads(event.data)["is_final"] is True
        return self.reading

    async def read_all(self) -> Reading:
        """Until the stream ends."""
        while True:
            try:
                await self.next()
            except StopAsyncIteration:
                return self.reading


@asynccontextmanager
async def events(
    client: httpx.AsyncClient, session_id: str, *, reading: Reading | None = None, pod: str = "", **query: str
) -> AsyncIterator[Stream]:
    """Opens the session's events, at the client's pod or at the one whose URL is given. With a `reading` that has a
    position, goes on there, as a browser would."""
    reading = Reading() if reading is None else reading
    headers = {"Accept": "text/event-stream"}
    if reading.position:
        headers["Last-Event-ID"] = reading.position
    url = f"{pod}/v1/sessions/{session_id}/events"
    async with client.stream("GET", url, params=query, headers=headers) as response:
        yield Stream(response, reading)


@asynccontextmanager
async def events_of_several(
    client: httpx.AsyncClient,
    *sessions: str,
    reading: Reading | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Stream]:
    """The same for several sessions on one connection, each as `?session=` takes it."""
    reading = Reading() if reading is None else reading
    sent = {"Accept": "text/event-stream", **(headers or {})}
    if reading.position:
        sent["Last-Event-ID"] = reading.position
    query = [("session", session) for session in sessions]
    async with client.stream("GET", "/v1/events", params=query, headers=sent) as response:
        yield Stream(response, reading)


async def post(
    client: httpx.AsyncClient, session_id: str, message: str = "go", **body: Any
) -> httpx.Response:
    """Posts a message; `model`, `max_tokens` and `tokens_per_second` go into the context."""
    names = ("model", "max_tokens", "tokens_per_second", "on_busy")
    context = {name: body.pop(name) for name in names if name in body}
    content = {"message": message, "context": context, **body}
    return await client.post(f"/v1/sessions/{session_id}/messages", json=content)
