"""JetStream's own API by raw requests: nats-py's typed one loses fields that it does not know, and updates in silence."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from chatmesh.broker.connection import Connection
from chatmesh.broker.message import Msg
from chatmesh.broker.replies import Replies
from chatmesh.errors import BrokerError, BrokerUnreachableError, JetStreamMissingError, ProtocolError
from chatmesh.protocol import headers, jsontext

NO_RESPONDERS = "503"

TRY_SECONDS = 1.0
"""One try of a call. A request that was lost with its connection is asked again: its silence says nothing of JetStream."""


class ApiError(BrokerError):
    """JetStream's API answered with an error. `code` is its `err_code`."""

    def __init__(self, what: str, *, code: int, where: str) -> None:
        super().__init__(what, where=where)
        self.code = code


class Requests:
    """Request and reply over core NATS, with the process's one reply inbox."""

    def __init__(self, connection: Connection, replies: Replies) -> None:
        self._connection = connection
        self._replies = replies

    @property
    def jetstream_api(self) -> str:
        return self._connection.jetstream_api

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        *,
        seconds: float,
        message_headers: dict[str, str] | None = None,
    ) -> Msg | None:
        """The answer, or None where nobody listens (at once) or nobody answers (after `seconds`)."""
        message = await self._ask(subject, body, seconds, message_headers)
        return None if message is None or _is_unheard(message) else message

    async def is_unheard(self, subject: str, *, seconds: float) -> bool:
        """Whether the server says that nobody listens. A listener that is silent for `seconds` is one all the same."""
        message = await self._ask(subject, b"", seconds, None)
        return message is not None and _is_unheard(message)

    async def _ask(
        self, subject: str, body: bytes, seconds: float, message_headers: dict[str, str] | None
    ) -> Msg | None:
        answered: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        def on_reply(message: Msg) -> bool:
            if not answered.done():
                answered.set_result(message)
            return True

        reply = self._replies.expect(on_reply)
        try:
            self._connection.publish(subject, body, reply=reply, headers=message_headers)
            async with asyncio.timeout(seconds):
                return await answered
        except TimeoutError:
            return None
        finally:
            self._replies.forget(reply)


def _is_unheard(message: Msg) -> bool:
    return message.headers is not None and message.headers.get(headers.STATUS) == NO_RESPONDERS


class JetStreamApi:
    """The few calls of `$JS.API` that chatmesh makes."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def call(
        self, name: str, body: dict[str, Any] | None = None, *, seconds: float = 5.0
    ) -> dict[str, Any]:
        """`$JS.API.{name}`, as our user calls it, with `body`. Raises ApiError, JetStreamMissingError, BrokerUnreachableError."""
        data = b"" if body is None else orjson.dumps(body)
        subject = f"{self._requests.jetstream_api}.{name}"
        message = await self._ask(subject, data, seconds)
        if message is None:
            raise JetStreamMissingError(
                "JetStream does not answer",
                where=subject,
                mend="Start the server with JetStream (`nats-server -js`), enable it for this account, and allow this "
                "user to use it.",
            )
        try:
            answer: dict[str, Any] = jsontext.decode_object(message.data, "JetStream's answer")
        except ProtocolError as failure:
            # Not from JetStream: somebody knows our inbox and was faster.
            raise BrokerUnreachableError(str(failure), where=subject) from failure
        error = answer.get("error")
        if isinstance(error, dict):
            raise ApiError(str(error.get("description")), code=int(error.get("err_code", 0)), where=name)
        return answer

    async def _ask(self, subject: str, data: bytes, seconds: float) -> Msg | None:
        deadline = time.monotonic() + seconds
        while True:
            again = time.monotonic() + TRY_SECONDS
            message = await self._requests.request(subject, data, seconds=min(TRY_SECONDS, seconds))
            is_refused = time.monotonic() < again  # at once: nobody listens
            if message is not None or is_refused or again >= deadline:
                return message

    async def subjects(self, stream: str, pattern: str) -> dict[str, int]:
        """Those of the messages in `stream` that match, in no order, and how many messages each has; about 50 bytes each from
        the broker."""
        counts: dict[str, int] = {}
        offset = 0
        while True:
            about = {"subjects_filter": pattern, "offset": offset}
            info = await self.call(f"STREAM.INFO.{stream}", about)
            found = info["state"].get("subjects") or {}
            counts |= found
            offset += len(found)
            if not found or offset >= int(info.get("total", 0)):
                return counts
