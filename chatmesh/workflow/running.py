"""The answers that this worker is generating: who holds what, and how one is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from chatmesh.protocol.tokens import Token
from chatmesh.workflow.ports import LanePort


class Running:
    """One answer. `stop` ends its provider at once, wherever it waits."""

    def __init__(self, session_id: Token, message_id: Token, lane: LanePort) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.lane = lane
        self.is_stopped = False
        self._work: asyncio.Task[str] | None = None

    def stop(self) -> None:
        self.is_stopped = True
        if self._work is not None:
            self._work.cancel()

    async def work(self, work: asyncio.Task[str]) -> str | None:
        """Waits for the generation; its finish reason, or None where it was stopped. A cancel from outside goes through
        to the generation and on."""
        self._work = work
        if self.is_stopped:
            work.cancel()
        try:
            return await work
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not self.is_stopped or (caller is not None and caller.cancelling()):
                raise
            return None
        finally:
            self._work = None


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

    @contextmanager
    def hold(self, running: Running) -> Iterator[None]:
        self._running[running.session_id] = running
        try:
            yield
        finally:
            del self._running[running.session_id]
