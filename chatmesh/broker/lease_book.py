"""Which deliveries each worker holds, written down by itself, so that others can free them at once when it dies.

Whoever holds a delivery's ack subject can give the delivery back: JetStream then delivers it again without waiting for
`ack_wait`. A false alarm is harmless: the holder is asked before its message is claimed, and writes are fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from chatmesh.broker.connection import Connection
from chatmesh.broker.direct_get import DirectGet, Stored
from chatmesh.broker.streams import CONSUMER, PRESENCE, REQUESTS
from chatmesh.errors import BrokerError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.tokens import Token

MAX_ENTRIES = 1024
"""Of 90 bytes. What is beyond comes back after `ack_wait`."""

READ_SECONDS = 2.0

MAX_DIGITS = 20
"""Of a stream sequence."""

ACKS = f"$JS.ACK.{REQUESTS}.{CONSUMER}."
"""What an ack subject begins with, in an account without a domain. Nothing else is published to."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A request that a worker says it holds. `seq` is its place in the work queue; `deliveries` counts from 1."""

    worker_id: str
    boot: str
    seq: int
    deliveries: int


class LeaseBook:
    """One page for each worker: the last one counts."""

    def __init__(self, connection: Connection, direct_get: DirectGet) -> None:
        self._connection = connection
        self._direct_get = direct_get

    async def write(self, worker_id: Token, boot: str, ack_subjects: Sequence[str]) -> bool:
        """The deliveries that this life of the worker holds now. Best effort: without it `ack_wait` does. False: it was not sent."""
        page = {"worker_id": worker_id, "boot": boot, "leases": list(ack_subjects[:MAX_ENTRIES])}
        try:
            self._connection.publish(
                subjects.worker_leases(worker_id), orjson.dumps(page), headers=headers.own()
            )
        except BrokerError:
            return False
        return True

    async def read(self, *, max_pages: int, seconds: float) -> list[Lease]:
        """What stands on at most `max_pages` pages, those of workers that are no more among them. Raises BrokerError."""
        found = await self._direct_get.page(
            PRESENCE, subjects.WORKER_LEASES, seq=1, limit=max_pages, seconds=seconds
        )
        return [lease for stored in found.messages for lease in _leases(stored)]

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
            self._connection.publish(subject, b"-NAK")
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


def _leases(stored: Stored) -> list[Lease]:
    page = _decode(stored.body)
    if page is None:
        return []
    worker_id, (boot, acks) = subjects.third_token(stored.subject), page
    places = [place for ack in acks if (place := _place(ack)) is not None]
    return [Lease(worker_id, boot, seq, deliveries) for deliveries, seq in places]


def _place(ack: str) -> tuple[int, int] | None:
    """How often it was delivered, and its stream sequence; None where the page does not say it."""
    parts = ack.split(".")
    behind = parts[4:6] if len(parts) == 9 else parts[6:8]
    is_whole = len(behind) == 2 and all(part.isdecimal() and len(part) < MAX_DIGITS for part in behind)
    return (int(behind[0]), int(behind[1])) if is_whole else None


def _is_ack(subject: str) -> bool:
    """Nine tokens, or with domain and account in front twelve; all of this consumer."""
    parts = subject.split(".")
    return subject.startswith(ACKS) or (
        len(parts) == 12 and parts[:2] == ["$JS", "ACK"] and parts[4:6] == [REQUESTS, CONSUMER]
    )
