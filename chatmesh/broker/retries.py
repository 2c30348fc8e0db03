"""Which message a request without an id of its own became, for a minute: so that a client's retry is recognised on any pod.

Lives in the registry's stream under a name that no session can have; each entry deletes itself. Not needed for any promise
to hold but this one: where it can't be written or read in time, a retry is a new message.
"""

from __future__ import annotations

import orjson

from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.streams import REGISTRY
from chatmesh.errors import BrokerError, CapacityError, ProtocolError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.jsontext import decode_object
from chatmesh.protocol.tokens import Token, token
from chatmesh.telemetry import get_logger

log = get_logger("broker")

KEPT_TTL = "60s"
"""SDKs come back within seconds, three times at most; what comes later is meant as something new."""

FORGOTTEN_TTL = "1s"

WRITE_SECONDS = 1.0
"""A request waits for its entry, so that nobody is answered who would not be recognised; but not for long."""

READ_SECONDS = 3.0


class Retries:
    """`key` stands for a request: who asked what. The last one who wrote under it counts."""

    def __init__(self, direct_get: DirectGet, publisher: Publisher) -> None:
        self._direct_get = direct_get
        self._publisher = publisher

    async def note(self, key: Token, session_id: Token, message_id: Token) -> None:
        """The request is this message."""
        body = orjson.dumps({"session_id": session_id, "message_id": message_id})
        await self._put(key, body, KEPT_TTL)

    async def forget(self, key: Token) -> None:
        """It is none any more: the same again is something new."""
        await self._put(key, b"", FORGOTTEN_TTL)

    async def find(self, key: Token) -> tuple[Token, Token] | None:
        """Session and message of the request. Raises BrokerError."""
        stored = await self._direct_get.last(REGISTRY, subjects.retry(key), seconds=READ_SECONDS)
        if stored is None or not stored.body:
            return None
        try:
            entry = decode_object(stored.body, "retry entry")
            return token(entry.get("session_id"), "session_id"), token(entry.get("message_id"), "message_id")
        except ProtocolError as error:
            log.warning("broker.retry_undecodable", subject=stored.subject, error=str(error))
            return None

    async def _put(self, key: Token, body: bytes, ttl: str) -> None:
        try:
            await self._publisher.publish(
                subjects.retry(key),
                body,
                message_headers=headers.own() | {headers.TTL: ttl},
                deadline_seconds=WRITE_SECONDS,
            )
        except (BrokerError, CapacityError) as error:
            log.warning("broker.retry_not_noted", key=key, error=str(error))
