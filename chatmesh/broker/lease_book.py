"""Which deliveries each worker holds, written down by itself, so that others can free them at once when it dies.

Whoever holds a delivery's ack subject can give the delivery back: JetStream then delivers it again without waiting for
`ack_wait`. A false alarm is harmless: the holder is asked before its message is claimed, and writes are fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson

from chatmesh.broker.connection import Connection
from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.streams import CONSUMER, PRESENCE, REQUESTS
from chatmesh.errors import BrokerError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.tokens import Token

MAX_ENTRIES = 1024
"""Of 90 bytes. What is beyond comes back after `ack_wait`."""

READ_SECONDS = 2.0

ACKS = f"$JS.ACK.{REQUESTS}.{CONSUMER}."
"""What an ack subject begins with, in an account without a domain. Nothing else is published to."""


class LeaseBook:
    """One page for each worker: the last one counts."""

    def __init__(self, connection: Connection, direct_get: DirectGet) -> None:
        self._connection = connection
        self._direct_get = direct_get

    async def write(self, worker_id: Token, boot: str, ack_subjects: Sequence[str]) -> None:
        """The deliveries that this life of the worker holds now. Best effort: without it `ack_wait` does."""
        page = {"worker_id": worker_id, "boot": boot, "leases": list(ack_subjects[:MAX_ENTRIES])}
        with suppress(BrokerError):
            await self._connection.publish(
                subjects.worker_leases(worker_id), orjson.dumps(page), headers=headers.own()
            )

    async def free(self, worker_id: Token, is_over: Callable[[str], bool]) -> int:
        """Gives back what the worker held, if the life (boot) that wrote its page is over. How many. Raises
        BrokerError."""
        stored = await self._direct_get.last(
            PRESENCE, subjects.worker_leases(worker_id), seconds=READ_SECONDS
        )
        page = _decode(stored.body) if stored is not None else None
        if page is None or not is_over(page[0]):
            return 0
        for subject in page[1]:
            await self._connection.publish(subject, b"-NAK")
        return len(page[1])


def _decode(body: bytes) -> tuple[str, list[str]] | None:
    """A page's boot and ack subjects, or None for what is no page."""
    try:
        page = orjson.loads(body)
        boot, found = page["boot"], page["leases"]
        if not isinstance(boot, str) or not isinstance(found, list):
            return None
        leases = [subject for subject in found if isinstance(subject, str) and _is_ack(subject)]
        return boot, leases[:MAX_ENTRIES]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _is_ack(subject: str) -> bool:
    """Nine tokens, or with domain and account in front twelve; all of this consumer."""
    parts = subject.split(".")
    return subject.startswith(ACKS) or (
        len(parts) == 12 and parts[:2] == ["$JS", "ACK"] and parts[4:6] == [REQUESTS, CONSUMER]
    )
