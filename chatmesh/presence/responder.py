"""The health responders: request-reply on `chat.pod.{id}.health` and `chat.worker.{id}.health`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from chatmesh.broker import Connection, Listener, Msg
from chatmesh.errors import BrokerError
from chatmesh.presence.beacon import Vitals
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.messages import HealthResponse
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token

CAPACITY = 1024


class HealthResponder(Listener):
    """Answers whoever asks. Any body will do, none is needed."""

    role = "pod"

    def __init__(self, connection: Connection, *, id: Token, boot: str, vitals: Callable[[], Vitals]) -> None:
        super().__init__(connection, capacity=CAPACITY)
        self._id = id
        self._boot = boot
        self._vitals = vitals

    def subject(self) -> str:
        return subjects.pod_health(self._id)

    async def on_message(self, message: Msg) -> None:
        if not message.reply:
            return
        vitals = self._vitals()
        response = HealthResponse(
            self.role,
            self._id,
            vitals.status,
            vitals.load,
            iso(time.time()),
            self._boot,
            self.holding(message.data),
        )
        with suppress(BrokerError):
            # Not `respond`: it would echo the request's headers.
            self._connection.publish(message.reply, response.encode(), headers=headers.own())

    def holding(self, question: bytes) -> bool | None:
        """Whether the message in question is held here; None where that was not asked."""
        return None


class WorkerHealthResponder(HealthResponder):
    """A worker is also asked whether it still answers a certain message, before another one takes it over."""

    role = "worker"

    def __init__(
        self,
        connection: Connection,
        *,
        id: Token,
        boot: str,
        vitals: Callable[[], Vitals],
        holds: Callable[[str, str], bool],
    ) -> None:
        super().__init__(connection, id=id, boot=boot, vitals=vitals)
        self._holds = holds

    def subject(self) -> str:
        return subjects.worker_health(self._id)

    def holding(self, question: bytes) -> bool | None:
        try:
            body = orjson.loads(question)
            session_id, message_id = body["session_id"], body["message_id"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None
        return (
            isinstance(session_id, str)
            and isinstance(message_id, str)
            and self._holds(session_id, message_id)
        )
