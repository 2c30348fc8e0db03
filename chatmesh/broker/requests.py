"""The work queue from the pod's side: submit a request, and see what of a session is queued.

A work queue keeps what is not acknowledged, so a request stands here while it is queued *and* while it is answered.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from chatmesh.broker.direct_get import DirectGet, Stored
from chatmesh.broker.homes import Homes
from chatmesh.broker.publisher import PubAck, Publisher
from chatmesh.broker.streams import DEAD_LETTERS, REQUESTS
from chatmesh.broker.vault import Vault, message_id_of
from chatmesh.errors import ProtocolError
from chatmesh.protocol import headers, subjects, trace
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import TOMBSTONE
from chatmesh.protocol.sealing import DataKey, Kind
from chatmesh.protocol.tokens import Token

LAG_SECONDS = 0.25
"""How far behind a server is thought to be: 20 ms were seen on loaded ones."""

AGAIN_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Queued:
    """A request that is not yet answered. `seq` is its place: lower is older. `key`: it is sealed with that."""

    seq: int
    request: WorkflowRequest
    traceparent: str = ""
    key: DataKey | None = None


class RequestQueue:
    """`WORKFLOW_REQUESTS` and the dead letters."""

    def __init__(self, direct_get: DirectGet, publisher: Publisher, vault: Vault, homes: Homes) -> None:
        self._direct_get = direct_get
        self._homes = homes
        self._publisher = publisher
        self.vault = vault

    async def submit(
        self,
        request: WorkflowRequest,
        *,
        key: DataKey | None,
        only_if_free: bool,
        seconds: float,
        again: bool = False,
        is_new: bool = False,
        traceparent: str = "",
    ) -> PubAck:
        """Stores the request, sealed with `key`; returns JetStream's acknowledgement (`duplicate`: its id was there already).

        `again`: JetStream remembers the id, but its request is gone (erased with its session), so this one is another.
        `is_new`: nothing of its session was stored a moment ago. `only_if_free` stores it only while nothing of the session
        is queued or running, else FencedError. Errors as in `Publisher.publish`.
        """
        home = await self._homes.begin(request.session_id, seconds=seconds)
        message_headers = (
            headers.own(traceparent)
            | self._homes.headers(home)
            | {headers.MSG_ID: f"{request.session_id}:{request.message_id}"}
        )
        if again:
            message_headers[headers.MSG_ID] += f":{request.correlation_id}"
        if is_new:
            message_headers[headers.NEW] = "1"
        if only_if_free:
            message_headers[headers.EXPECTED_SUBJECT_SEQUENCE] = "0"
        return await self._publisher.publish(
            subjects.execute(request.session_id),
            sealed_request(request, key),
            message_headers=message_headers,
            deadline_seconds=seconds,
        )

    async def submit_erase(
        self, session_id: Token, erase_id: Token, body: bytes, *, seconds: float
    ) -> PubAck:
        """Queues the erasing of the session behind everything that was accepted for it."""
        home = await self._homes.begin(session_id, seconds=seconds)
        message_headers = (
            headers.own()
            | self._homes.headers(home)
            | {headers.MSG_ID: f"{session_id}:{erase_id}", headers.ERASE: erase_id}
        )
        return await self._publisher.publish(
            subjects.execute(session_id), body, message_headers=message_headers, deadline_seconds=seconds
        )

    async def queued(self, session_id: Token, *, limit: int, seconds: float) -> list[Queued]:
        """The session's unanswered requests, oldest first, of the first `limit`: without those that are about to be
        erased. Undecodable ones are left out: the worker that meets them makes dead letters of them. Raises
        KeyMissingError where one can't be opened here."""
        found: list[Queued] = []
        for stored in await self._unanswered(session_id, limit, seconds):
            try:
                opened = await self.vault.request(stored.body, session_id)
            except ProtocolError:
                continue
            request = opened.request
            traceparent = trace.of_request(
                stored.headers, stored.body, request.session_id, request.message_id
            )
            found.append(Queued(stored.seq, request, traceparent, opened.key))
        return found

    async def queued_ids(self, session_id: Token, *, limit: int, seconds: float) -> list[Token]:
        """The same, for who needs to know of them and not what they say."""
        found: list[Token] = []
        for stored in await self._unanswered(session_id, limit, seconds):
            with suppress(ProtocolError):
                found.append(message_id_of(stored.body))
        return found

    async def _unanswered(self, session_id: Token, limit: int, seconds: float) -> list[Stored]:
        page = await self._direct_get.page(
            REQUESTS, subjects.execute(session_id), seq=1, limit=limit, seconds=seconds
        )
        found: list[Stored] = []
        for stored in page.messages:
            if headers.ERASE in stored.headers:
                found.clear()
            else:
                found.append(stored)
        return found

    async def head(self, session_id: Token, *, seconds: float) -> int | None:
        """The sequence of the session's oldest unanswered request, or None. For a worker to whom one was delivered: with
        several servers the one that answers may be some milliseconds behind the one that delivered, so that "none" is
        believed only when it is said for a while."""
        deadline = time.monotonic() + LAG_SECONDS
        while True:
            stored = await self._direct_get.first(REQUESTS, subjects.execute(session_id), seconds=seconds)
            if stored is not None:
                return stored.seq
            if time.monotonic() >= deadline:
                return None
            await asyncio.sleep(AGAIN_SECONDS)

    async def oldest(self, *, seconds: float) -> float | None:
        """When the oldest unanswered request of all was stored, in Unix seconds, or None."""
        stored = await self._direct_get.first(REQUESTS, subjects.EXECUTE_ALL, seconds=seconds)
        return None if stored is None else stored.unix_seconds

    async def forget_dead_letters(self, session_id: Token, *, seconds: float) -> None:
        """Replaces the session's dead letters, if it has any, by a tombstone."""
        subject = subjects.dead_letter(session_id)
        last = await self._direct_get.last(DEAD_LETTERS, subject, seconds=seconds)
        if last is not None and last.body != TOMBSTONE:
            await self._publisher.publish(
                subject,
                TOMBSTONE,
                message_headers=headers.own() | {headers.ROLLUP: "sub"},
                deadline_seconds=seconds,
            )

    async def bury(self, session_id: Token, seq: int, body: bytes, reason: str, *, seconds: float) -> None:
        """Stores a copy of the request at `seq` among the dead letters, with the reason; once, however often called. One
        as large as the broker takes is cut by the room that the reason needs."""
        message_headers = headers.own() | {
            headers.MSG_ID: f"{REQUESTS}:{seq}",
            headers.REASON: " ".join(reason.split())[:500].encode("ascii", "replace").decode(),
        }
        await self._publisher.publish(
            subjects.dead_letter(session_id),
            body[: self._publisher.max_payload],
            message_headers=message_headers,
            deadline_seconds=seconds,
        )


def sealed_request(request: WorkflowRequest, key: DataKey | None) -> bytes:
    """As it stands in the queue."""
    body = request.encode()
    return body if key is None else key.seal(Kind.REQUEST, request.message_id, body)
