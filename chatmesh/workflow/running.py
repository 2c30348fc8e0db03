"""The answers that this worker is generating: who holds what, and how one is ended before its provider ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from chatmesh.protocol.tokens import Token
from chatmesh.workflow.ports import LanePort


class End(Enum):
    """Why an answer is ended early. STOPPED: somebody asked for it. EXPIRED: its request is about to vanish from the
    queue. LEAVING: this worker goes, and another one goes on."""

    STOPPED = "stopped"
    EXPIRED = "expired"
    LEAVING = "leaving"


class Running:
    """One answer, to the request at `seq` of the work queue. `end` ends its provider at once, wherever it waits; the first
    reason counts."""

    def __init__(
        self, session_id: Token, message_id: Token, seq: int, lane: LanePort, ended: End | None = None
    ) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.seq = seq
        self.lane = lane
        self.ended = ended
        self._work: asyncio.Task[str] | None = None

    def end(self, why: End) -> None:
        self.ended = self.ended or why
        if self._work is not None:
            self._work.cancel()

    async def work(self, work: asyncio.Task[str]) -> End | None:
        """Waits for the generation; None where it came to its own end. A cancel from outside goes through to the
        generation and on."""
        self._work = work
        if self.ended is not None:
            work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self.ended is None or (caller is not None and caller.cancelling()):
                raise
            return self.ended
        finally:
            self._work = None
        return None


class Generations:
    """Every running answer of this worker, by session: one at a time in each."""

    def __init__(self) -> None:
        self._running: dict[Token, Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    def of(self, session_id: Token) -> Running | None:
        return self._running.get(session_id)

    def all(self) -> list[Running]:
        return list(self._running.values())

    def holds(self, session_id: str, message_id: str) -> bool:
        """Whether that message is being answered here."""
        running = self._running.get(Token(session_id))
        return running is not None and running.message_id == message_id

    def leave(self) -> None:
        """Ends every answer so that another worker can go on with it."""
        for running in self.all():
            running.end(End.LEAVING)

    @contextmanager
    def hold(self, running: Running) -> Iterator[None]:
        self._running[running.session_id] = running
        try:
            yield
        finally:
            del self._running[running.session_id]
