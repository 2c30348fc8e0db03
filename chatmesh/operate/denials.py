"""What the broker's permissions refuse, noticed at once: nobody else would answer a question that was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from chatmesh.broker import Connection, Denial
from chatmesh.operate.permissions import refusal

T = TypeVar("T")


class Denials:
    """Listens from its making on; keeps the first one."""

    def __init__(self, connection: Connection, id: str) -> None:
        self._id = id
        self._connection = connection
        self._heard: asyncio.Event = asyncio.Event()
        self._first: Denial | None = None
        connection.on_denial(self._hear)

    def check(self) -> None:
        """Raises NotAuthorisedError where one was heard."""
        if self._first is not None:
            raise refusal(self._first, self._id, self._connection.jetstream_api)

    async def guard(self, question: Coroutine[Any, Any, T]) -> T:
        """What `question` returns; NotAuthorisedError as soon as anything is refused, before or while it runs."""
        answer = asyncio.create_task(question, name="question")
        denied = asyncio.create_task(self._heard.wait(), name="denied")
        try:
            await asyncio.wait({answer, denied}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.check()
            return answer.result()
        finally:
            answer.cancel()
            denied.cancel()
            await asyncio.wait({answer, denied})

    def _hear(self, denial: Denial) -> None:
        self._first = self._first or denial
        self._heard.set()
