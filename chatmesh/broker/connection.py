"""The connection to NATS, as a service: one client for the process, rebuilt whenever nats-py closes it for good.

Out of the client's callbacks comes nothing but signals: an exception in one kills nats-py's read loop while
`is_connected` stays true, and a slow one stalls every subscription. So each is wrapped whole and only sets an event or
puts into a bounded inbox.

What is not guaranteed: a core publish is at most once. Whatever must arrive goes through `Publisher`.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import nats.errors
from nats.aio.client import Client, Server

from chatmesh.broker import refusals
from chatmesh.broker.client import End, SturdyClient
from chatmesh.broker.inbox import Inbox, Tap
from chatmesh.broker.reconnects import FOR_EVER, Reconnects
from chatmesh.errors import BrokerUnreachableError, CapacityError, NotAuthorisedError
from chatmesh.kernel import Service, Unrepairable
from chatmesh.protocol import subjects
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

HEADERS_MARGIN = 1024
"""What a message's headers and the server's own bookkeeping may take of `max_payload`: our longest header set is about
500 bytes; passing the limit by one byte makes nats-py close the connection for good."""

FLUSH_SECONDS = 5

SETTLE_SECONDS = 0.5
"""What a reconnect takes beside its wait: jitter, handshake, subscriptions."""

GIVEN_UP_SECONDS = 3600.0
"""How long nats-py waits once there is nothing left to try: its client is closed long before."""

PENDING_BYTES = 64 * 1024 * 1024
"""What the client may hold for a broker that is slow to read, before it refuses: a thousand full batches, stored and live."""

JETSTREAM_API = "$JS.API"

_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Denial:
    """What the broker's user tried and may not do. `subject` is in lower case: nats-py hands it over so."""

    verb: str
    subject: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and who we are there (`name`: a subject token, ours alone). Plain values, so that this room needs no configuration."""

    servers: tuple[str, ...]
    name: str
    connect_seconds: float = 5.0
    max_reconnects: int = FOR_EVER
    reconnect_wait_seconds: float = 2.0
    jetstream_api: str = JETSTREAM_API
    """What the subjects of JetStream's API begin with; another one where it is imported from another account."""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Further options of `nats.connect`: user, password, token, tls …"""


class Connection(Service):
    """Owns the client. Everybody else subscribes and publishes through here, and never sees a client die."""

    def __init__(self, address: Callable[[], Address]) -> None:
        self._get_address = address
        self.jetstream_api = JETSTREAM_API
        """What the subjects of JetStream's API begin with for our user."""
        self._client: SturdyClient | None = None
        self._closed = asyncio.Event()
        self._draining = asyncio.Event()
        self._inboxes: dict[Inbox, End | None] = {}
        self._flushes: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[], None]] = []
        self._denial_listeners: list[Callable[[Denial], None]] = []
        self._refused: asyncio.Future[Exception] | None = None
        self._reconnects = Reconnects(FOR_EVER)
        self._last_error: Exception | None = None
        self._settled_at = 0.0

    @property
    def _address(self) -> Address:
        """Asked each time: an embedded server's address is known only once it runs."""
        return self._get_address()

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def is_settled(self) -> bool:
        """Whether everybody who lost the broker when we did has had the time to come back. Before, that nobody answers
        does not mean that nobody is there."""
        return time.monotonic() >= self._settled_at

    @property
    def name(self) -> str:
        """Who we are: the token behind `_INBOX` in our replies' subjects."""
        return self._address.name

    @property
    def max_payload(self) -> int:
        """Bytes that one message's body may have, headers accounted for."""
        limit = self._client.max_payload if self._client is not None else 1024 * 1024
        return limit - HEADERS_MARGIN

    @property
    def greeting(self) -> dict[str, Any]:
        """What the server says of itself; nothing while there is none."""
        return self._client.greeting if self._client is not None else {}

    @property
    def server(self) -> str:
        """The server we talk to, for people."""
        if self._client is not None and self._client.connected_url is not None:
            return self._client.connected_url.netloc
        return ", ".join(self._address.servers)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each connect, disconnect and reconnect. It must only signal: set an event, no more."""
        self._listeners.append(listener)

    def on_denial(self, listener: Callable[[Denial], None]) -> None:
        """Calls `listener` for each publish and subscription that the broker's permissions refuse. It must only signal."""
        self._denial_listeners.append(listener)

    # --- what others use -------------------------------------------------------------------------------------------

    @property
    def subscriptions(self) -> int:
        """Open ones of this process."""
        return len(self._inboxes)

    async def subscribe(self, subject: str, *, capacity: int, tap: Tap | None = None) -> Inbox:
        """An inbox that is fed from `subject`, through reconnects and rebuilt clients, until `unsubscribe`."""
        inbox = Inbox(subject, capacity, tap)
        self._inboxes[inbox] = None
        metrics.broker_subscriptions.set(len(self._inboxes))
        try:
            if self._client is not None and not self._client.is_closed:
                self._inboxes[inbox] = await self._client.feed(subject, inbox.put)
        except BaseException as error:
            self._inboxes.pop(inbox, None)  # nobody got it, so nobody would end it
            metrics.broker_subscriptions.set(len(self._inboxes))
            if isinstance(error, nats.errors.Error):
                metrics.errors.labels("broker", "subscribe").inc()
            raise
        return inbox

    async def unsubscribe(self, inbox: Inbox) -> None:
        """Ends the feed. What lies in the inbox stays readable."""
        end = self._inboxes.pop(inbox, None)
        metrics.broker_subscriptions.set(len(self._inboxes))
        inbox.close()
        if end is not None:
            with suppress(nats.errors.Error):
                await end()

    def publish(
        self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Core publish, at most once; nothing is waited for. Every message of the process leaves here. Raises CapacityError for a body past
        `max_payload` (nothing was sent, the connection lives), and BrokerUnreachableError while the broker is away, or takes no more."""
        client = self._client
        if client is None or not client.is_connected:
            metrics.errors.labels("broker", "send").inc()
            raise BrokerUnreachableError(
                "NATS is away", where=self.server, mend="It is being reconnected; try again."
            )
        if len(body) > self.max_payload:
            metrics.errors.labels("broker", "send").inc()
            raise CapacityError(
                f"a message of {len(body)} bytes is past the broker's {self.max_payload}", where=subject
            )
        try:
            client.send(subject, body, reply, headers)
        except nats.errors.Error as error:
            metrics.errors.labels("broker", "send").inc()
            raise BrokerUnreachableError(f"NATS did not take a message: {error}", where=subject) from error
        metrics.published_bytes.observe(subjects.pattern(subject), len(body))

    async def flush(self) -> None:
        """Returns when the server has handled what was sent before. Not a promise about who received it."""
        # A PING would otherwise overtake subscriptions and publishes that are still in the client's buffer.
        await asyncio.sleep(0)
        client = self._client
        if client is None or not client.is_connected:
            return
        # Apart from its caller: one that is cancelled must not take the answer's future along, since the answer still
        # comes and, finding it cancelled, would end the client's read loop in silence.
        flush = asyncio.create_task(self._flush(client), name="nats-flush")
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)
        await asyncio.wait({flush})
        if not flush.cancelled():  # as it is when the client is closed
            flush.result()

    async def _flush(self, client: Client) -> None:
        try:
            await client.flush(timeout=FLUSH_SECONDS)
        except TimeoutError:
            # The late answer would end the client's read loop in silence, so this connection is not to be trusted.
            await client.force_reconnect()
        except nats.errors.Error as error:
            log.warning("broker.flush_failed", error=repr(error))

    def new_inbox_subject(self) -> str:
        """A subject that only we know, for replies."""
        if self._client is None:
            raise BrokerUnreachableError("not connected yet")
        return self._client.new_inbox()

    # --- the service -----------------------------------------------------------------------------------------------

    async def run(self, started: Callable[[], None]) -> None:
        self._reconnects = Reconnects(self._address.max_reconnects)
        try:
            await self._connect(self._address.connect_seconds)
            started()
            await self._keep()
        finally:
            await self._close()

    def drain(self) -> None:
        self._draining.set()

    async def _keep(self) -> None:
        """Builds a new client each time nats-py has closed the old one for good (it does so in spite of unlimited
        reconnects: on a payload too large, rotated credentials, too many subscriptions)."""
        while not self._draining.is_set():
            await _first_of(self._closed.wait(), self._draining.wait())
            if self._draining.is_set():
                return
            if self._reconnects.is_over:
                error = refusals.lost(self._address.servers, self._last_error)
                raise Unrepairable(str(error)) from error
            metrics.broker_rebuilds.inc()
            log.error("broker.client_closed", server=self.server)
            try:
                await self._connect(self._address.connect_seconds)
            except (BrokerUnreachableError, NotAuthorisedError) as error:
                # Not the end yet, whatever it is: credentials may come back with a rotation.
                self._reconnects.add_round(self._address.servers)
                log.error("broker.reconnect_failed", error=str(error))
                self._closed.set()
                await _first_of(asyncio.sleep(self._address.reconnect_wait_seconds), self._draining.wait())

    async def _connect(self, seconds: float) -> None:
        """A new client with every inbox subscribed. Bounded: nats-py alone would try for ever, a wrong password too."""
        loop = asyncio.get_running_loop()
        self.jetstream_api = self._address.jetstream_api
        refused: asyncio.Future[Exception] = loop.create_future()
        self._closed.clear()
        self._last_error = None
        client = SturdyClient()
        attempt = loop.create_task(self._dial(client, refused), name="nats-connect")
        either: list[asyncio.Future[Any]] = [attempt, refused]
        try:
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                denial = refused.result()
                raise refusals.denied(self._address.servers, denial) from denial
            if not attempt.done():
                raise self._unreachable(self._last_error, seconds) from self._last_error
            if (error := attempt.exception()) is not None:
                raise self._unreachable(error, seconds) from error
        except BaseException:
            # Also where it has just succeeded, and a cancel came at the same moment.
            attempt.cancel()
            await asyncio.wait({attempt})
            # AssertionError: nats-py's, where the file of our credentials is gone and it has not come as far as a queue.
            with suppress(nats.errors.Error, OSError, AssertionError):
                await client.close()
            if not attempt.cancelled():
                attempt.exception()  # nobody else looks at it
            raise
        finally:
            refused.cancel()
        self._client = client
        self._reconnects.begin_anew()
        for inbox in list(self._inboxes):
            end = await client.feed(inbox.subject, inbox.put)
            if inbox in self._inboxes:
                self._inboxes[inbox] = end
            else:  # ended meanwhile
                await end()
        await self.flush()
        self._signal()
        log.info("broker.connected", server=self.server, tls=client.is_encrypted)
        if client.has_secret and not client.is_encrypted and not client.is_local:
            log.warning("broker.secret_in_clear", server=self.server, mend="Use tls:// in nats.servers.")

    async def _dial(self, client: Client, refused: asyncio.Future[Exception]) -> None:
        async def on_error(error: Exception) -> None:
            self._last_error = error
            if refusals.is_denial(error) and not refused.done():
                refused.set_result(error)
            self._on_error(error)

        await client.connect(
            servers=list(self._address.servers),
            name=self._address.name,
            max_reconnect_attempts=-1,
            # Of the first connect only, in whole seconds; later waits come from `_next_server`.
            reconnect_time_wait=1,
            reconnect_to_server_handler=self._next_server,
            connect_timeout=2,
            # Ours alone, so that a broker can keep others from listening to our replies.
            inbox_prefix=f"_INBOX.{self._address.name}",
            # Half-open TCP would otherwise be noticed after six minutes.
            ping_interval=5,
            max_outstanding_pings=2,
            pending_size=PENDING_BYTES,
            error_cb=on_error,
            disconnected_cb=self._signal_only(self._on_disconnect),
            reconnected_cb=self._signal_only(self._on_reconnect),
            closed_cb=self._signal_only(self._closed.set),
            **self._address.options,
        )

    def _next_server(self, pool: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
        """The next server and how long to wait before it, with jitter: nats-py's own wait has none, and a mesh that
        lost its broker would come back in one stampede."""
        servers = {server.uri.netloc: server for server in pool}
        chosen = self._reconnects.next(list(servers))
        if chosen is None:
            self._closed.set()
            return pool[0], GIVEN_UP_SECONDS
        name, waits = chosen
        wait = self._address.reconnect_wait_seconds if waits else 0.0
        return servers[name], wait * random.uniform(0.75, 1.0) + random.uniform(0, 0.05)  # noqa: S311 - spreads load, no secret

    async def _close(self) -> None:
        client, self._client = self._client, None
        for inbox in self._inboxes:
            self._inboxes[inbox] = None
            # After a crash whoever listens keeps its inbox: the next life feeds it again.
            if self._draining.is_set():
                inbox.close()
        if client is not None and not client.is_closed:
            # `close` writes what is left in its buffer; a flush that times out would only cost time.
            with suppress(nats.errors.Error, OSError):
                await client.close()
        # Nothing is read any more that would miss them.
        for flush in self._flushes:
            flush.cancel()
        if self._flushes:
            await asyncio.wait(self._flushes)

    # --- signals ---------------------------------------------------------------------------------------------------

    def _signal(self) -> None:
        for listener in self._listeners:
            listener()

    @staticmethod
    def _signal_only(what: Callable[[], None]) -> Callable[[], Awaitable[None]]:
        async def callback() -> None:
            try:
                what()
            except Exception as error:  # noqa: BLE001 - an exception here would wedge nats-py for good
                log.error("broker.callback_failed", error=repr(error))

        return callback

    def _on_disconnect(self) -> None:
        metrics.broker_disconnects.inc()
        log.warning("broker.disconnected", server=self.server)
        self._signal()

    def _on_reconnect(self) -> None:
        self._reconnects.begin_anew()
        self._settled_at = time.monotonic() + self._address.reconnect_wait_seconds + SETTLE_SECONDS
        log.info("broker.reconnected", server=self.server)
        self._signal()

    def _on_error(self, error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            metrics.errors.labels("broker", "permission").inc()
            log.error("broker.permission_denied", error=str(error))
            self._tell_denial(str(error))
        else:
            log.warning("broker.error", error=repr(error))

    def _tell_denial(self, text: str) -> None:
        if (found := _DENIED.search(text)) is not None:
            verb = "publish" if found[1].lower() == "publish" else "subscribe"
            for listener in self._denial_listeners:
                listener(Denial(verb, found[2]))

    def _unreachable(self, cause: BaseException | None, seconds: float) -> BrokerUnreachableError:
        address = self._address
        is_encrypted = "tls" in address.options
        return refusals.unreachable(address.servers, cause, seconds, is_encrypted=is_encrypted)


async def _first_of(*coroutines: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
