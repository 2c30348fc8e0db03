"""Readers whose stream has its socket to itself: no handler waits for them, so somebody has to read for them when they are not
live, and to end them when they are over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from chatmesh.hub.following import Follower, Following
from chatmesh.hub.hub import Seat
from chatmesh.hub.resume import Start
from chatmesh.hub.wires import Native
from chatmesh.kernel import Service
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web import Stream

log = get_logger("hub")


class Feeder(Service):
    """Has a task for each reader that reads from the transcript, at most as many as there are readers. One that crashes cuts
    its stream; its client comes back."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._on_stop = self._stopped  # one for all readers

    async def run(self, started: Callable[[], None]) -> None:
        started()
        try:
            await self._draining.wait()
        finally:
            # The server has left, so all of them are over or cut.
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def drain(self) -> None:
        self._draining.set()

    def follow(
        self,
        stream: Stream,
        wire: Native,
        caller: Caller,
        session_id: Token,
        message_id: Token | None,
        start: Start,
        seat: Seat | None = None,
    ) -> None:
        """From now on, to its end."""
        following = self._follower.enter(
            stream, wire, caller, session_id, message_id, start, self._on_stop, seat=seat
        )
        stream.on_lost = following.reader.on_stop
        self._settle(following)

    def follow_several(
        self, stream: Stream, caller: Caller, sessions: Sequence[tuple[Seat, Native, Start]]
    ) -> None:
        """Several sessions on one connection; what ends one of them ends it for all."""
        turn = asyncio.Lock()  # a slow client holds one page, whatever the number of its sessions
        all_of_it: list[Following] = []
        stream.on_lost = partial(_all_stopped, all_of_it)
        for seat, wire, start in sessions:
            following = self._follower.enter(
                stream,
                wire,
                caller,
                seat.channel.session_id,
                None,
                start,
                self._on_stop,
                is_further=bool(all_of_it),
                seat=seat,
            )
            following.turn = turn
            all_of_it.append(following)
        for following in all_of_it:
            self._settle(following)

    def _stopped(self, following: Following) -> None:
        if following.task is None:
            # Not here: a channel may be walking over its readers.
            asyncio.get_running_loop().call_soon(self._settle, following)
        elif following.reader.sink.is_closed:
            following.task.cancel()

    def _settle(self, following: Following) -> None:
        """What is due: its end, another read, or nothing."""
        if following.is_ended or following.task is not None:
            return
        if following.is_over:
            self._follower.leave(following)
            following.reader.sink.finish()
        elif not following.reader.is_live:
            self._advance(following)

    def _advance(self, following: Following) -> None:
        advance = self._follower.advance if following.turn is None else self._advance_in_turn
        task = following.task = asyncio.create_task(advance(following), name="feed")
        self._tasks.add(task)
        task.add_done_callback(partial(self._advanced, following))

    async def _advance_in_turn(self, following: Following) -> None:
        assert following.turn is not None  # noqa: S101 - narrows the type
        async with following.turn:
            await self._follower.advance(following)

    def _advanced(self, following: Following, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        following.task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            metrics.errors.labels("hub", "stream").inc()
            log.error("hub.stream_failed", session_id=following.channel.session_id, exc_info=error)
        if task.cancelled() or error is not None:
            following.reader.sink.abort()
        self._settle(following)


def _all_stopped(followings: Sequence[Following]) -> None:
    """Their connection is gone."""
    for following in followings:
        following.reader.on_stop()
