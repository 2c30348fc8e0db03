"""The work queue from the worker's side: a few standing pull requests for the free slots, and leased deliveries.

nats-py's `fetch` sleeps through a reconnect, leaves orphan pulls behind when cancelled, and spins where the consumer is
missing. This puller asks for no more messages than there are free slots (a prefetched one would burn its `ack_wait` in a
queue), watches the idle heartbeat, and asks anew after a reconnect.

Requests are few and large: the server goes through all that stand at each message, and sends each its heartbeats. So a
slot that gets free is asked for together with others, while at least as many are still asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import orjson

from chatmesh.broker.api import Requests
from chatmesh.broker.connection import Connection
from chatmesh.broker.inbox import Inbox
from chatmesh.broker.message import Msg
from chatmesh.errors import BrokerError, BrokerUnreachableError
from chatmesh.kernel import MailboxClosed, Service
from chatmesh.protocol import headers, subjects
from chatmesh.telemetry import get_logger, metrics
from chatmesh.telemetry.traffic import observe_lag

log = get_logger("broker")

_LAG = metrics.delivery_lag.labels(subjects.EXECUTE_ALL)

EXPIRES_SECONDS = 30.0
HEARTBEAT_SECONDS = 2.0
MISSED_SECONDS = 2 * HEARTBEAT_SECONDS + 0.5
"""Two idle heartbeats missed: the pull request is lost, with a leader or a connection."""

BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 2.0
ACK_TRY_SECONDS = 1.0


class Delivery:
    """A leased request: ours until `ack_wait` passes without a sign of work.

    The lease is no ownership: a late ack of an old delivery removes the message while a newer one is worked on. So an
    ack comes only after the fenced final record is stored.
    """

    __slots__ = (
        "_connection",
        "_requests",
        "body",
        "deliveries",
        "headers",
        "reply",
        "seq",
        "stored_at",
        "subject",
    )

    def __init__(self, connection: Connection, requests: Requests, message: Msg) -> None:
        self._connection = connection
        self._requests = requests
        self.subject = message.subject
        self.body = message.data
        self.headers = message.headers or {}
        self.reply = message.reply
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>, or with
        # domain and account hash in front (12 tokens).
        tokens = message.reply.split(".")
        at = 4 if len(tokens) == 9 else 6
        self.deliveries = int(tokens[at])
        self.seq = int(tokens[at + 1])
        self.stored_at = int(tokens[at + 3]) / 1e9

    @property
    def place(self) -> tuple[float, int]:
        """Its place in the queue, lower is older. The sequence alone is not enough: a stream that was deleted and made
        anew begins again at 1, and an ack of the one would remove the other."""
        return (self.stored_at, self.seq)

    def renew(self, newer: Delivery) -> None:
        """The same message was delivered again while we hold it: answer to the newest delivery."""
        self.reply = newer.reply
        self.deliveries = newer.deliveries

    async def ack(self, *, seconds: float) -> bool:
        """Removes the message from the queue and waits for the server to say so. False: nobody confirmed; it may come
        back, and the turn that meets it will find its final."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(BrokerUnreachableError):
                answer = await self._requests.request(self.reply, b"+ACK", seconds=ACK_TRY_SECONDS)
                if answer is not None:
                    return True
            await asyncio.sleep(BACKOFF_SECONDS)
        return False

    async def nak(self, delay_seconds: float = 0.0) -> None:
        """Gives it back, to be delivered again after the delay. Best effort: else `ack_wait` does it."""
        body = b"-NAK" if not delay_seconds else b'-NAK {"delay": %d}' % int(delay_seconds * 1e9)
        await self._tell(body)

    async def in_progress(self) -> None:
        """Keeps the lease for another `ack_wait`. Best effort."""
        await self._tell(b"+WPI")

    async def terminate(self, reason: str) -> None:
        """Drops it for good. JetStream deletes the body, so a copy must be stored before."""
        await self._tell(b"+TERM " + reason.encode())

    async def _tell(self, body: bytes) -> None:
        with suppress(BrokerError):
            self._connection.publish(self.reply, body)


@dataclass(slots=True)
class _Pull:
    remaining: int
    last_seen: float


class Puller(Service):
    """Feeds `on_delivery` with as many deliveries as `free_slots` allows.

    `on_delivery` is called from this actor and must not block; `kick` tells that slots became free.
    """

    def __init__(
        self,
        connection: Connection,
        requests: Requests,
        *,
        stream: str,
        consumer: str,
        free_slots: Callable[[], int],
        on_delivery: Callable[[Delivery], None],
        max_slots: int,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._requests = requests
        self._call = f"CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._free_slots = free_slots
        self._on_delivery = on_delivery
        self._max_slots = max_slots
        self._on_refused = on_refused
        self._pulls: dict[str, _Pull] = {}
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._draining = False
        self._reconnected = False
        self._backoff = BACKOFF_SECONDS
        self._blocked_until = 0.0
        connection.on_change(self._on_change)

    @property
    def _subject(self) -> str:
        return f"{self._connection.jetstream_api}.{self._call}"

    def kick(self) -> None:
        """Slots became free, or were taken."""
        if self._wanted():
            self._wake.set()

    def drain(self) -> None:
        self._draining = True
        self._wake.set()

    async def run(self, started: Callable[[], None]) -> None:
        self._pulls.clear()
        prefix = self._connection.new_inbox_subject()
        # Every free slot may be answered at once, and each pull sends heartbeats and a status beside.
        inbox = await self._connection.subscribe(f"{prefix}.*", capacity=2 * self._max_slots + 1024)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(inbox), name="puller-receive")
            started()
            try:
                while not self._draining:
                    await self._ask(prefix)
                    await self._pause()
            finally:
                # The server drops our standing requests with the subscription; what is in the inbox is handed on.
                await self._connection.unsubscribe(inbox)

    async def _pause(self) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS / 2):
                await self._wake.wait()

    async def _ask(self, prefix: str) -> None:
        now = time.monotonic()
        if self._reconnected:
            self._reconnected = False
            self._pulls.clear()
        for name in [name for name, pull in self._pulls.items() if now - pull.last_seen > MISSED_SECONDS]:
            log.info("broker.pull_lost", subject=self._subject)
            del self._pulls[name]
        wanted = self._wanted()
        if not wanted or now < self._blocked_until or not self._connection.is_connected:
            return
        name = str(next(self._numbers))
        request = {
            "batch": wanted,
            "expires": int(EXPIRES_SECONDS * 1e9),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9),
        }
        with suppress(BrokerUnreachableError):
            self._connection.publish(self._subject, orjson.dumps(request), reply=f"{prefix}.{name}")
            self._pulls[name] = _Pull(wanted, now)

    def _wanted(self) -> int:
        """How many more to ask for now; 0 while what is asked for is enough."""
        asked = sum(pull.remaining for pull in self._pulls.values())
        more = self._free_slots() - asked
        return more if more >= max(1, asked) else 0

    async def _receive(self, inbox: Inbox) -> None:
        """Until the drain. An inbox that ends before is a crash: nobody would hear what is pulled any more."""
        try:
            while True:
                for message in await inbox.take():
                    if message.reply.startswith("$JS.ACK."):
                        self._take(message)
                    else:
                        self._on_status(message)
                # After the handler has taken them, so that the free slots are counted right.
                self.kick()
        except MailboxClosed:
            if not self._draining:
                raise

    def _take(self, message: Msg) -> None:
        try:
            delivery = Delivery(self._connection, self._requests, message)
        except (IndexError, ValueError):
            # Not from JetStream: somebody knows our inbox.
            metrics.errors.labels("broker", "undecodable").inc()
            log.warning("broker.undecodable_delivery", subject=message.subject)
            return
        self._count_delivered()
        if delivery.deliveries == 1:  # a later one says how long somebody else had it
            observe_lag(_LAG, delivery.stored_at)
        self._on_delivery(delivery)

    def _count_delivered(self) -> None:
        """Delivered messages come with their own subject, so which pull they answer is not told: the server gives each its
        turn, so the one that has waited for longest."""
        self._backoff = BACKOFF_SECONDS
        if not self._pulls:
            return
        name = next(iter(self._pulls))
        pull = self._pulls.pop(name)
        pull.remaining -= 1
        pull.last_seen = time.monotonic()
        if pull.remaining > 0:
            self._pulls[name] = pull

    def _on_status(self, message: Msg) -> None:
        name = message.subject.rpartition(".")[2]
        head = message.headers or {}
        status, why = head.get(headers.STATUS, ""), head.get(headers.DESCRIPTION, "")
        if status == "100":
            if name in self._pulls:
                self._pulls[name].last_seen = time.monotonic()
            return
        self._pulls.pop(name, None)
        if status == "408" or "Batch Completed" in why:
            return
        # 503, 409 (leadership change, consumer deleted, server shutdown): ask again, but not in a hot loop.
        self._blocked_until = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, MAX_BACKOFF_SECONDS)
        log.warning("broker.pull_refused", status=status, reason=why, subject=self._subject)
        self._on_refused()
        asyncio.get_running_loop().call_later(self._backoff, self._wake.set)

    def _on_change(self) -> None:
        self._reconnected = True
        self._wake.set()
