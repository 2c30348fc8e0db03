"""The work queue: what is not answered yet, the oldest first, who has it, and how full the streams are.

In: a broker, and who lives. Out: a row for each request, without what it says. A work queue keeps what is not acknowledged,
so a request stands in it while it waits and while it is answered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from chatmesh.broker import Broker, Stored
from chatmesh.broker.lease_book import Lease
from chatmesh.broker.storage import fill_ratio
from chatmesh.broker.streams import DEAD_LETTERS, REQUESTS, TRANSCRIPT
from chatmesh.broker.vault import message_id_of
from chatmesh.errors import ProtocolError
from chatmesh.operate.members import Members
from chatmesh.operate.pages import READ_SECONDS, broker_time, walk
from chatmesh.operate.standings import Standing, standings
from chatmesh.operate.streams import Part, look, require
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.tokens import Token, is_token

MAX_BYTES = 64 * 1024 * 1024
"""Of requests that are read: the broker sends a message whole or not at all, and one may have a megabyte."""

MAX_WORKERS = 1024
"""Whose leases are read."""


class Stage(StrEnum):
    """Of a request. RUNNING: it is being answered. PARKED: a worker holds it until its session is free. WAITING: nobody has
    it, or who had it is gone."""

    RUNNING = "running"
    PARKED = "parked"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request. `session_id` is the token of its subject. `message_id` is None where it can't be decoded, `deliveries` where
    no worker says that it holds it. `worker_id`: who answers it or holds it, or did last."""

    seq: int
    session_id: str
    message_id: str | None
    queued_at: str
    age_seconds: float
    size_bytes: int
    erases: bool = False
    stage: Stage = Stage.WAITING
    worker_id: str | None = None
    attempt: int | None = None
    deliveries: int | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a stream is: `ratio` of its `max_bytes`, None where it has no limit. `stored` counts every message that it
    ever took."""

    stream: str
    messages: int
    stored: int
    bytes: int
    max_bytes: int
    ratio: float | None


@dataclass(frozen=True, slots=True)
class ConsumerCounts:
    """The workers' consumer, as JetStream sees it: requests that no worker has had, requests that are leased, those of them
    that were delivered more than once, and pulls that wait for a request: about as many as slots are free."""

    pending: int
    ack_pending: int
    redelivered: int
    waiting_pulls: int


@dataclass(frozen=True, slots=True)
class Queue:
    """`requests` are the oldest of `unanswered`. `dead_letters`: messages in their stream, what is left of erased ones among
    them. `consumer` is None where there is none."""

    requests: tuple[Unanswered, ...]
    unanswered: int
    dead_letters: int
    consumer: ConsumerCounts | None
    streams: tuple[Fill, ...]

    def fill(self, stream: str) -> Fill | None:
        return next((each for each in self.streams if each.stream == stream), None)

    @property
    def transcripts(self) -> list[Fill]:
        """Of the transcript, or of its parts."""
        return [each for each in self.streams if each.stream.startswith(TRANSCRIPT)]


async def read_queue(broker: Broker, members: Members, *, limit: int, max_bytes: int = MAX_BYTES) -> Queue:
    """At most `limit` requests, and no further one where they have reached `max_bytes`. Raises BrokerError."""
    now = broker_time(await require(broker, REQUESTS))
    parts = await look(broker)
    streams = tuple(_fill(part) for part in parts if part.kind == "stream" and not part.is_missing)
    of_name = {fill.stream: fill for fill in streams}
    requests = await _requests(broker, members, limit, max_bytes, now)
    return Queue(
        requests,
        # It may have grown between the two looks.
        max(of_name[REQUESTS].messages if REQUESTS in of_name else 0, len(requests)),
        of_name[DEAD_LETTERS].messages if DEAD_LETTERS in of_name else 0,
        next((_counts(part.info) for part in parts if part.kind == "consumer" and part.info), None),
        streams,
    )


async def _requests(
    broker: Broker, members: Members, limit: int, max_bytes: int, now: float
) -> tuple[Unanswered, ...]:
    # One after the other, so that bodies don't add up.
    found = [
        _as_waiting(stored, now)
        async for stored in walk(broker, REQUESTS, subjects.EXECUTE_ALL, limit=limit, max_bytes=max_bytes)
    ]
    if not found:
        return ()
    leases = await _last_leases(broker)
    sessions = [Token(name) for name in dict.fromkeys(each.session_id for each in found) if is_token(name)]
    stand = await standings(broker, sessions)
    return tuple(
        _with_holder(each, stand.get(Token(each.session_id), Standing()), leases.get(each.seq), members)
        for each in found
    )


async def _last_leases(broker: Broker) -> dict[int, Lease]:
    """By sequence. On a dead worker's page may stand what another one has by now: the last delivery counts."""
    found: dict[int, Lease] = {}
    for lease in await broker.lease_book.read(max_pages=MAX_WORKERS, seconds=READ_SECONDS):
        if lease.seq not in found or found[lease.seq].deliveries < lease.deliveries:
            found[lease.seq] = lease
    return found


def _as_waiting(stored: Stored, now: float) -> Unanswered:
    try:
        message_id: str | None = message_id_of(stored.body)
    except ProtocolError:
        message_id = None
    return Unanswered(
        stored.seq,
        stored.subject.rpartition(".")[2],
        message_id,
        stored.time,
        max(0.0, now - stored.unix_seconds),
        len(stored.body),
        erases=headers.ERASE in stored.headers,
    )


def _with_holder(each: Unanswered, standing: Standing, lease: Lease | None, members: Members) -> Unanswered:
    if lease is not None:
        is_left = members.has_died("worker", lease.worker_id, lease.boot)
        stage = Stage.WAITING if is_left else Stage.PARKED
        each = replace(each, stage=stage, worker_id=lease.worker_id, deliveries=lease.deliveries)
    held = standing.held
    if held is None or held.claim.message_id != each.message_id:
        return each
    claim = held.claim
    if claim.handed_over or members.has_died("worker", claim.worker_id, claim.boot):
        return replace(each, attempt=claim.attempt, worker_id=each.worker_id or claim.worker_id)
    return replace(each, stage=Stage.RUNNING, attempt=claim.attempt, worker_id=claim.worker_id)


def _fill(part: Part) -> Fill:
    state, limit = part.info["state"], part.config.get("max_bytes", -1)
    ratio = fill_ratio(part.info) if limit > 0 else None
    return Fill(part.name, state["messages"], state["last_seq"], state["bytes"], limit, ratio)


def _counts(info: dict[str, Any]) -> ConsumerCounts:
    names = ("num_pending", "num_ack_pending", "num_redelivered", "num_waiting")
    return ConsumerCounts(*(info.get(name, 0) for name in names))
