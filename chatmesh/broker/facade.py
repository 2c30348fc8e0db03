"""Everything of this room, put together once for the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker.api import JetStreamApi, Requests
from chatmesh.broker.connection import Address, Connection
from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.ensure import ensure_consumer, ensure_stream
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.registry import Heartbeats, Registry
from chatmesh.broker.replies import Replies
from chatmesh.broker.requests import RequestQueue
from chatmesh.broker.sessions import Sessions
from chatmesh.broker.streams import CONSUMER, REQUESTS, TRANSCRIPT, ConsumerSpec, StreamSettings, declared
from chatmesh.broker.transcript import Transcript
from chatmesh.errors import BrokerError, BrokerUnreachableError
from chatmesh.kernel import Service
from chatmesh.protocol.positions import epoch_of
from chatmesh.telemetry import get_logger

log = get_logger("broker")

RETRY_SECONDS = 2.0

LOOK_SECONDS = 10.0
"""Between looks at the streams: nobody says when an operator deletes one."""

DOUBT_SECONDS = 0.5
"""Between looks while a stream does not answer."""


class StreamKeeper(Service):
    """Ensures the streams before anybody uses them, and looks again after every reconnect, whenever one does not answer,
    and now and then: one that was deleted under us is made anew, and the epoch that positions carry is read."""

    def __init__(
        self,
        connection: Connection,
        api: JetStreamApi,
        settings: StreamSettings,
        consumer: ConsumerSpec,
        *,
        pulls: bool,
    ) -> None:
        """`pulls`: this process has workers, so the consumer is its business; a pod's setting of it means nothing."""
        self._connection = connection
        self._api = api
        self.declared = declared(settings)
        self.consumer = consumer
        self._pulls = pulls
        self._changed = asyncio.Event()
        self._draining = False
        self._births: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []
        self._next_look = 0.0
        self.epoch = ""
        self.problem: BrokerError | None = None
        connection.on_change(self._changed.set)

    async def run(self, started: Callable[[], None]) -> None:
        await self._ensure()
        started()
        while not self._draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            if self._connection.is_connected and not self._draining:
                await self._check()

    def drain(self) -> None:
        self._draining = True
        self._changed.set()

    def doubt(self) -> None:
        """A stream or the consumer did not answer: perhaps it is gone. Only signals, and may be called often."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + DOUBT_SECONDS
            self._changed.set()

    def on_remade(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when a stream turned out to be another one than before: what was in it is gone. It must only
        signal."""
        self._listeners.append(listener)

    async def _check(self) -> None:
        """After a reconnect the streams may be slow to come, or gone. A difference is explained, not fatal: the process
        was told to run with what it found at its start."""
        try:
            await self._ensure()
            self.problem = None
        except BrokerUnreachableError:
            return
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # An answer that is not JetStream's; the next look asks again.
            log.warning("broker.undecodable_answer", error=repr(error))
        except BrokerError as error:
            self.problem = error
            log.error("broker.streams_not_as_declared", error=str(error))
            with suppress(RuntimeError):
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)

    async def _ensure(self) -> None:
        before = dict(self._births)
        for spec in self.declared:
            state = await ensure_stream(self._api, spec)
            self._births[spec.name] = state.created_unix_ms
            if spec.name == TRANSCRIPT:
                self.epoch = epoch_of(state.created_unix_ms)
        if self._pulls:
            await ensure_consumer(self._api, self.consumer)
        remade = [name for name, birth in before.items() if self._births[name] != birth]
        if remade:
            log.warning("broker.streams_remade", streams=remade)
            for listener in self._listeners:
                listener()


class Broker:
    """The room's parts, wired. `services` stand in the order in which they must start."""

    def __init__(
        self,
        address: Callable[[], Address],
        settings: StreamSettings,
        *,
        ack_wait_seconds: float,
        pulls: bool,
        fenced: bool = True,
    ) -> None:
        self.connection = Connection(address)
        self.replies = Replies(self.connection)
        self.publisher = Publisher(self.connection, self.replies, on_unheard=self._doubt)
        self.requests = Requests(self.connection, self.replies)
        self.api = JetStreamApi(self.requests)
        self.streams = StreamKeeper(
            self.connection,
            self.api,
            settings,
            ConsumerSpec(REQUESTS, CONSUMER, ack_wait_seconds),
            pulls=pulls,
        )
        self.direct_get = DirectGet(self.connection, self.replies, on_unheard=self._doubt)
        self.transcript = Transcript(
            self.direct_get, self.publisher, lambda: self.streams.epoch, fenced=fenced
        )
        self.queue = RequestQueue(self.direct_get, self.publisher)
        self.sessions = Sessions(self.api, self.direct_get, self.queue)
        self.registry = Registry(self.direct_get, self.publisher)
        self.heartbeats = Heartbeats(self.connection, self.direct_get)

    @property
    def services(self) -> tuple[tuple[str, Service], ...]:
        return (
            ("connection", self.connection),
            ("replies", self.replies),
            ("publisher", self.publisher),
            ("streams", self.streams),
        )

    def _doubt(self) -> None:
        self.streams.doubt()

    @property
    def is_ready(self) -> bool:
        """Connected, and the streams are as declared."""
        return self.connection.is_connected and self.streams.problem is None and bool(self.streams.epoch)
