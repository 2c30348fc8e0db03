"""The keeper of the streams: makes them, looks after them, and knows how full they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from chatmesh.broker.api import JetStreamApi
from chatmesh.broker.connection import Connection
from chatmesh.broker.ensure import ensure_consumer, ensure_stream
from chatmesh.broker.layout import Layout
from chatmesh.broker.storage import Storage, fill_ratio
from chatmesh.broker.streams import ConsumerSpec, StreamSettings, StreamSpec, declared
from chatmesh.errors import BrokerError, BrokerUnreachableError, JetStreamMissingError, NotAuthorisedError
from chatmesh.kernel import Service
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

RETRY_SECONDS = 2.0

LOOK_SECONDS = 10.0
"""Between looks at the streams: nobody says when an operator deletes one, or how fast it fills."""

TIGHT_SECONDS = 1.0
"""Between looks while a stream is nearly full: messages are to be taken again soon after there is room."""

DOUBT_SECONDS = 0.5
"""Between looks while a stream does not answer, or refuses because it is full."""


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
        layout: Layout,
        pulls: bool,
    ) -> None:
        """`pulls`: this process has workers, so the consumer is its business; a pod's setting of it means nothing."""
        self._connection = connection
        self._api = api
        self._settings = settings
        self.layout = layout
        self.consumer = consumer
        self.storage = Storage()
        self._pulls = pulls
        self._changed = asyncio.Event()
        self._draining = False
        self._births: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []
        self._next_look = 0.0
        self.problem: BrokerError | None = None
        self._denied: set[str] = set()
        connection.on_change(self._changed.set)
        connection.on_denial(lambda denial: self._denied.add(denial.subject))

    @property
    def declared(self) -> tuple[StreamSpec, ...]:
        """Every stream as it has to be. A transcript that lies in parts stays so, whatever is configured."""
        is_partitioned = self.layout.is_partitioned
        most = (
            max(self._settings.partitions, self.layout.count) if is_partitioned else self._settings.partitions
        )
        return declared(replace(self._settings, partitions=most), is_partitioned=is_partitioned)

    async def run(self, started: Callable[[], None]) -> None:
        await self._ensure()
        started()
        while not self._draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(TIGHT_SECONDS if self.storage.is_tight else LOOK_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            if self._connection.is_connected and not self._draining:
                await self._check()

    def drain(self) -> None:
        self._draining = True
        self._changed.set()

    def doubt(self) -> None:
        """A stream or the consumer did not answer, or is full: perhaps it is gone. Only signals, and may be called often."""
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
        try:
            await self._ensure_all()
        except JetStreamMissingError as error:
            # What is refused gets no answer.
            if error.where is None or error.where.lower() not in self._denied:
                raise
            self._denied.clear()  # it may be allowed at the next look
            raise _not_ours(error.where) from error

    async def _ensure_all(self) -> None:
        before = dict(self._births)
        await self.layout.look()
        has_made = False
        for spec in self.declared:
            state = await ensure_stream(self._api, spec, on_info=partial(self._weigh, spec))
            self._births[spec.name] = state.created_unix_ms
            has_made |= state.was_created
        if has_made:
            await self.layout.look()
        if self._pulls:
            await ensure_consumer(self._api, self.consumer)
        remade = [name for name, birth in before.items() if self._births[name] != birth]
        if remade:
            log.warning("broker.streams_remade", streams=remade)
            for listener in self._listeners:
                listener()

    def _weigh(self, spec: StreamSpec, info: dict[str, Any]) -> None:
        ratio = fill_ratio(info)
        metrics.stream_fill.labels(spec.name).set(ratio)
        # One that evicts what is old may be as full as it likes.
        if spec.discard == "new" and self.storage.note(spec.name, ratio):
            log.warning("broker.storage_alarm", stream=spec.name, fill=round(ratio, 3), **_sizes(info))


def _not_ours(subject: str) -> NotAuthorisedError:
    """What of a stream or consumer is not as declared, and that this user may not mend it. `subject`: of the call."""
    name = subject.rpartition(".")[2]
    match subject.split(".")[-3:]:
        case [_, "CREATE", _] | ["CREATE", _, _]:
            what = (
                f"{name} is missing at the broker or not as declared, and this user may not make or change it"
            )
        case [_, "UPDATE", _]:
            what = f"stream {name} is not as declared, and this user may not change it"
        case _:
            what = f"this user may not look at {name}"
    return NotAuthorisedError(
        what,
        where=subject,
        mend="Run `chatmesh streams ensure --apply` as a user who may, or allow it; docs/operations.md has what each "
        "role needs.",
    )


def _sizes(info: dict[str, Any]) -> dict[str, int]:
    return {"bytes": info["state"]["bytes"], "max_bytes": info["config"]["max_bytes"]}
