"""A client of a whole mesh: one connection pool, several pods, and a name for the message before it is sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from chatmesh.client.outcome import Fate, Sent, fate_of, is_worth_repeating, pause_seconds, together
from chatmesh.client.pods import Pods
from chatmesh.client.reader import OnLink, Reader

SILENCE_SECONDS = 35.0
"""A stream says something every 15 s by default; after more than two times that its connection is dead."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Of a POST: a pod itself waits up to about ten for the broker's acknowledgement before it says that it is unknown."""

MAX_PAUSE_SECONDS = 10.0
"""Between two tries of a POST."""


STOP_SECONDS = 5.0
"""Of each DELETE: whoever stops an answer waits for it."""


class Client:
    """Of the pods at `urls`; an async context manager. Bounded by `connections` at a time. `token` is sent to them as the
    bearer of every request, and told to nobody else: no redirect is followed."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        silence_seconds: float = SILENCE_SECONDS,
        connections: int = 1000,
        token: str | None = None,
        random: Random | None = None,
    ) -> None:
        self._urls = list(urls)
        self._random = Random() if random is None else random  # noqa: S311 - spreads load, keeps no secret
        self._http = httpx.AsyncClient(
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(CONNECT_SECONDS, read=silence_seconds, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    def read(
        self,
        session_id: str,
        *,
        message_id: str | None = None,
        position: str = "",
        from_start: bool = False,
        on_link: OnLink | None = None,
    ) -> Reader:
        """The session's events, or one message's; from `position`, else from where `docs/http.md` says. `on_link` hears of
        every connection that is lost or served."""
        return Reader(
            self._http,
            Pods(self._urls, self._random),
            session_id,
            self._random,
            message_id=message_id,
            position=position,
            from_start=from_start,
            on_link=on_link,
        )

    async def send(
        self,
        session_id: str,
        message_id: str,
        message: str,
        *,
        context: Mapping[str, Any] | None = None,
        patience_seconds: float = 60.0,
        reach_seconds: float = math.inf,
        max_tries: float = math.inf,
    ) -> Sent:
        """Says it until a pod has accepted it, or refused it for good, or patience or tries are at their end; at the end of
        `reach_seconds` too while it has not reached anybody. Always with the same id, so that it is one message however
        often it arrives."""
        url = f"/v1/sessions/{session_id}/messages"
        body = {"message_id": message_id, "message": message, "context": dict(context or {})}
        pods = Pods(self._urls, self._random)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(patience_seconds, reach_seconds)
        patience_ends = loop.time() + patience_seconds
        fate, tries = Fate.REFUSED, 0
        while True:
            status, answer, retry_seconds, now = await self._try(pods.current + url, body)
            tries += 1
            fate = together(fate, now)
            if status or fate is Fate.UNKNOWN:
                deadline = patience_ends  # somebody is there
            pause = pause_seconds(tries, max_seconds=MAX_PAUSE_SECONDS, share=self._random.random())
            pause = max(pause, min(retry_seconds, MAX_PAUSE_SECONDS))
            is_over = not is_worth_repeating(status) or tries >= max_tries
            if is_over or loop.time() + pause > deadline:
                return Sent(message_id, fate, status, tries, answer)
            pods.turn()
            await asyncio.sleep(pause)

    async def get(self, path: str, **query: str) -> tuple[int, dict[str, Any]]:
        """A GET at one pod after the other, until one has an answer that another would give too: status and JSON body.
        Status 0 where nobody answers."""
        return await self._anywhere("GET", path, query, ANSWER_SECONDS)

    async def stop(self, session_id: str, message_id: str) -> tuple[int, dict[str, Any]]:
        """Stops an answer: the same of a DELETE. 202: the stop is stored; 200: it had ended; 404: nobody knows it."""
        path = f"/v1/sessions/{session_id}/messages/{message_id}"
        return await self._anywhere("DELETE", path, {}, STOP_SECONDS)

    async def _anywhere(
        self, method: str, path: str, query: Mapping[str, str], seconds: float
    ) -> tuple[int, dict[str, Any]]:
        pods = Pods(self._urls, self._random)
        found: tuple[int, dict[str, Any]] = (0, {})
        for _ in self._urls:
            url = pods.current + path
            pods.turn()
            try:
                response = await self._http.request(method, url, params=query, timeout=seconds)
            except httpx.TransportError:
                continue
            found = (response.status_code, _body(response))
            if not is_worth_repeating(response.status_code):
                break
        return found

    async def _try(self, url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], float, Fate]:
        """(status, body, Retry-After, what it says). Status 0: no answer."""
        try:
            response = await self._http.post(url, json=body, timeout=ANSWER_SECONDS)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return 0, {}, 0.0, Fate.REFUSED  # it has not left
        except httpx.TransportError:
            return 0, {}, 0.0, Fate.UNKNOWN
        after = response.headers.get("Retry-After", "")
        seconds = float(after) if after.isdigit() else 0.0
        return response.status_code, _body(response), seconds, fate_of(response.status_code)


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
