"""One model's server: calls go in, deltas come out; the one file that speaks HTTP to it.

Before the first piece of an answer whatever may pass is tried again: no connection, 408, 409, 429, 5xx. After it nothing
is: what was said can't be said anew here. Who closes the iterator closes the connection, so that the model stops; only one
whose answer was read to its end is used again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cache

import httpx

from chatmesh.kernel.restarts import Backoff
from chatmesh.protocol.headers import TRACEPARENT
from chatmesh.protocol.jsontext import encode
from chatmesh.providers.answer import Answer
from chatmesh.providers.base import Delta
from chatmesh.providers.call import Call
from chatmesh.providers.faults import UpstreamError, incomplete, invalid, late, of_status, unreachable
from chatmesh.providers.settings import Settings
from chatmesh.providers.splitter import Splitter, Whole
from chatmesh.telemetry import get_logger, metrics

log = get_logger("providers")

BACKOFF = Backoff(first_seconds=0.5, max_seconds=8.0)

MAX_WAIT_SECONDS = 60.0
"""A server that asks to come back later than this gets no second try: the reader would sit there for nothing."""

USAGE_SECONDS = 5.0
"""How long usage and the end of the stream may take behind the finish reason."""

END_SECONDS = 0.25
"""How long the end of the body may take behind the end of the answer. It stands in the same packet as a rule, and a
connection whose body was read to its end can be used again."""

MAX_ERROR_BYTES = 65_536

SILENT = "the model's server said nothing in time"
STALLED = "the model's server took too long over its answer"

_JSON, _HTML = "application/json", "text/html"


class Upstream:
    """`path` is what is asked below the base URL; `headers` say who we are, and never show."""

    def __init__(self, settings: Settings, path: str, headers: Mapping[str, str]) -> None:
        self._settings = settings
        self._url = f"{settings.base_url.rstrip('/')}/{path}"
        limits = httpx.Limits(
            max_connections=settings.concurrency,
            max_keepalive_connections=settings.concurrency,
            keepalive_expiry=30,
        )
        # All else has deadlines of our own: httpx knows one for each read, whatever comes in it.
        timeout = httpx.Timeout(None, connect=settings.connect_seconds)
        about = {"Content-Type": _JSON, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        self._client = httpx.AsyncClient(
            limits=limits, timeout=timeout, verify=_certificates(), headers={**about, **headers}
        )

    async def aclose(self) -> None:
        """Closes every connection. Nothing can be asked afterwards."""
        await self._client.aclose()

    async def ask(self, call: Call) -> AsyncGenerator[Delta, None]:
        """The deltas of one answer. Raises UpstreamError where there is none, or only a part of one."""
        ends_at = _now() + self._settings.total_seconds
        tries = 0
        while True:
            has_said = False
            try:
                async with aclosing(self._once(call, ends_at)) as deltas:
                    async for delta in deltas:
                        has_said = True
                        yield delta
                return
            except UpstreamError as error:
                if has_said:
                    raise
                if not call.mend(error):
                    tries += 1
                    await self._wait(error, tries, ends_at)

    async def _wait(self, error: UpstreamError, tries: int, ends_at: float) -> None:
        """Until it is time for another try; raises `error` where there will be none."""
        asked = error.wait_seconds
        wait = BACKOFF.seconds(tries) if asked is None else asked
        if (
            not error.may_pass
            or tries > self._settings.retries
            or wait > MAX_WAIT_SECONDS
            or _now() + wait > ends_at
        ):
            raise error
        metrics.provider_retries.labels(error.code).inc()
        log.info(
            "providers.retry",
            model=self._settings.name,
            code=error.code,
            tries=tries,
            wait_seconds=round(wait, 3),
        )
        await asyncio.sleep(wait)

    async def _once(self, call: Call, ends_at: float) -> AsyncGenerator[Delta, None]:
        """One try."""
        read_by = min(ends_at, _now() + self._settings.first_token_seconds)
        answer, has_said = call.begin(), False
        async with self._opened(call, read_by) as response:
            splitter, reads = _splitter(response), response.aiter_bytes()
            while read := await self._read(reads, read_by, answer, has_said=has_said):
                for event in splitter.feed(read):
                    for delta in answer.feed(event):
                        # What is counted before it speaks (the prompt, at some) is told even if it is cut off then.
                        yield delta if has_said else delta._replace(usage=answer.usage)
                        has_said = True
                    # A comment is no event and no sign of life: a proxy sends them for a model that has died.
                    read_by = min(
                        ends_at, _now() + self._patience(answer, read_by - _now(), has_said=has_said)
                    )
            for event in splitter.end():
                for delta in answer.feed(event):
                    yield delta
        last = answer.end()
        yield last._replace(notes={**last.notes, **call.notes})

    def _patience(self, answer: Answer, left_seconds: float, *, has_said: bool) -> float:
        """How long the next piece may take."""
        if answer.is_over:
            return END_SECONDS
        if answer.has_finished:
            return USAGE_SECONDS
        return self._settings.idle_seconds if has_said else left_seconds

    @asynccontextmanager
    async def _opened(self, call: Call, read_by: float) -> AsyncIterator[httpx.Response]:
        """The answer's head has come, and promises an answer."""
        traced = {TRACEPARENT: call.traceparent} if call.traceparent else {}
        request = self._client.build_request("POST", self._url, content=encode(call.body), headers=traced)
        try:
            async with asyncio.timeout_at(read_by):
                response = await self._client.send(request, stream=True)
        except TimeoutError:
            raise late(SILENT) from None
        except httpx.HTTPError as error:
            raise self._failed(error, has_said=False) from None
        try:
            if response.status_code != 200 or _kind(response) == _HTML:
                raise await self._refused(response, read_by)
            yield response
        finally:
            # One that was not read to its end takes its connection with it.
            await response.aclose()

    async def _read(
        self, reads: AsyncIterator[bytes], read_by: float, answer: Answer, *, has_said: bool
    ) -> bytes:
        """The next bytes; none where the body has ended, or where all that matters of it was read."""
        try:
            async with asyncio.timeout_at(read_by):
                return await anext(reads, b"")
        except TimeoutError:
            if answer.has_finished or answer.is_over:
                return b""
            raise late(STALLED if has_said else SILENT) from None
        except httpx.HTTPError as error:
            if answer.has_finished or answer.is_over:
                return b""
            raise self._failed(error, has_said=has_said) from None

    async def _refused(self, response: httpx.Response, read_by: float) -> UpstreamError:
        body = b""
        with suppress(TimeoutError, httpx.HTTPError):  # its status says most of it
            async with asyncio.timeout_at(read_by):
                async for read in response.aiter_bytes():
                    body += read
                    if len(body) >= MAX_ERROR_BYTES:
                        break
        headers = {name.lower(): value for name, value in response.headers.items()}
        error = of_status(response.status_code, headers, body[:MAX_ERROR_BYTES], time.time())
        log.info("providers.refused", model=self._settings.name, status=response.status_code, code=error.code)
        return error

    def _failed(self, error: httpx.HTTPError, *, has_said: bool) -> UpstreamError:
        """Never with the error as its cause: h11 quotes a header that it does not like, and one of them is the key."""
        log.info("providers.broken", model=self._settings.name, error=type(error).__name__)
        if not isinstance(error, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError):
            return invalid("the model's server can't be spoken to")
        return incomplete() if has_said else unreachable()


def _splitter(response: httpx.Response) -> Splitter | Whole:
    return Whole() if _kind(response) == _JSON else Splitter()


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _now() -> float:
    return asyncio.get_running_loop().time()


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes 20 ms, and all servers are checked against the same authorities."""
    return httpx.create_ssl_context()
