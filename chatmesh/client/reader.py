"""A session's events over as many connections and pods as it takes: each event once, in order.

In: a session, perhaps a message and a position. Out: events, `reset` among them; the positions and `drain` are dealt
with here. After an end it waits as long as `retry:` says, after a failure at most so long, and comes back with the last
position to the next pod.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

import httpx
import orjson

from chatmesh.client.events import Event, EventParser
from chatmesh.client.outcome import is_worth_repeating, pause_seconds
from chatmesh.client.pods import Pods
from chatmesh.errors import ProtocolError, RefusedError

RETRY_MS = 1000
"""Where a stream has not said how long to wait."""

OnLink = Callable[[bool], None]
"""Told True when a pod serves the stream, False when it does so no more, or can't be reached; often the same in a row."""


class Reader:
    """An async iterator, and a context manager that gives its connection back. Of one task; `cut` is for anybody.

    Ends after the final chunk where a message is named, else never. Raises RefusedError where a pod says that there
    will be no stream: somebody else's session, an id that is none.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        pods: Pods,
        session_id: str,
        random: Random,
        *,
        message_id: str | None,
        position: str,
        from_start: bool,
        on_link: OnLink | None = None,
    ) -> None:
        self.position = position
        self.connects = 0
        self._http = http
        self._pods = pods
        self._path = f"/v1/sessions/{session_id}/events"
        self._query = {"from": "start"} if from_start else {}
        self._query |= {"message_id": message_id} if message_id is not None else {}
        self._random = random
        self._parser = EventParser(position, RETRY_MS)
        self._ready: deque[Event] = deque()
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._failures = 0
        self._on_link = on_link
        self._is_one_message = message_id is not None
        self._is_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._is_over:
                raise StopAsyncIteration
            if self._pieces is None:
                await self._connect()
            else:
                await self._read(self._pieces)
        event = self._ready.popleft()
        self.position = event.id
        return event

    @property
    def pod(self) -> str:
        """The pod that it reads from, or tries next."""
        return self._pods.current

    def cut(self) -> None:
        """Breaks the connection, if there is one, as a bad network would: in the middle of whatever comes. The reader goes
        on by itself. At the socket and not by cancelling, which would have to be told from somebody else's cancel."""
        stream = self._response.extensions.get("network_stream") if self._response is not None else None
        opened = stream.get_extra_info("socket") if stream is not None else None
        if opened is not None and opened.fileno() >= 0:
            with socket.socket(fileno=os.dup(opened.fileno())) as same, suppress(OSError):
                same.shutdown(socket.SHUT_RDWR)

    # --- one connection --------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """A stream, or a pause before the next try."""
        if self.connects or self._failures:
            await self._pause()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        request = self._http.build_request(
            "GET", self._pods.current + self._path, params=self._query, headers=headers
        )
        try:
            self._response = await self._http.send(request, stream=True)
        except httpx.TransportError:
            self._fail()
            return
        await self._begin(self._response)

    async def _begin(self, response: httpx.Response) -> None:
        if response.status_code == 200:
            self.connects += 1
            # What the last connection left unfinished comes again.
            self._parser = EventParser(self._parser.last_id, self._parser.retry_ms)
            self._pieces = response.aiter_bytes()
        elif response.status_code == 204:
            self._is_over = True
            await self._leave()
        elif is_worth_repeating(response.status_code):
            await self._leave()
            self._fail()
        else:
            await self._refuse(response)

    async def _read(self, pieces: AsyncIterator[bytes]) -> None:
        """The next events, or the end of this connection: clean, cut, or silent for longer than keep-alives are."""
        try:
            piece = await anext(pieces)
            self._failures = 0
            events = self._parser.feed(piece)
            if self._parser.has_id:
                self._tell(True)
            self._take(events)
        except StopAsyncIteration:
            await self._leave()
        except (httpx.TransportError, httpx.DecodingError):
            await self._leave()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if event.name != "drain":
                self._ready.append(event)
            if self._is_one_message and _is_final(event):
                self._is_over = True

    def _fail(self) -> None:
        self._failures += 1
        self._pods.turn()
        self._tell(False)

    def _tell(self, is_served: bool) -> None:
        if self._on_link is not None and not self._is_over:
            self._on_link(is_served)

    async def _leave(self) -> None:
        """The next connection goes elsewhere: this pod has had its turn, and may be leaving."""
        response, self._response, self._pieces = self._response, None, None
        if response is not None:
            self._pods.turn()
            self._tell(False)
            await response.aclose()

    async def _pause(self) -> None:
        seconds = (RETRY_MS if self._parser.retry_ms is None else self._parser.retry_ms) / 1000
        if self._failures:
            seconds = pause_seconds(self._failures, max_seconds=seconds, share=self._random.random())
        await asyncio.sleep(seconds)

    async def _refuse(self, response: httpx.Response) -> None:
        try:
            body = orjson.loads(await response.aread())
            detail = str(body.get("detail", "")) if isinstance(body, dict) else ""
        except (httpx.TransportError, orjson.JSONDecodeError):
            detail = ""
        where = str(response.url)
        await self._leave()
        raise RefusedError(
            detail or f"the pod answered {response.status_code}", status=response.status_code, where=where
        )


def _is_final(event: Event) -> bool:
    if event.name != "message":
        return False
    try:
        chunk = orjson.loads(event.data)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"a chunk is no JSON: {error}") from error
    return isinstance(chunk, dict) and chunk.get("is_final") is True
