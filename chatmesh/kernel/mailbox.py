"""A bounded queue of messages for one reader. Senders wait, or are refused; nothing is dropped.

In: messages, from any number of senders. Out: the same messages, in the order in which they were sent, to one reader.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Generic, TypeVar

from chatmesh.kernel.failures import MailboxClosed, MailboxFull

M = TypeVar("M")


class Mailbox(Generic[M]):
    """Up to `capacity` messages, first in first out. `name` only appears in errors.

    Senders that wait are served in the order in which they came, and nobody overtakes them. Use it from one event
    loop only; it is not safe between threads.

    A sender that waits gets a *turn* once there is room, and puts its message in itself when it runs again. Room that
    is promised with a turn counts as taken. So a sender that is cancelled has sent nothing, and its turn is passed on.
    """

    __slots__ = ("_capacity", "_is_closed", "_messages", "_reader", "_turns", "_waiting", "name")

    def __init__(self, capacity: int, *, name: str = "") -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name!r}: expected a capacity of at least 1, got {capacity}")
        self.name = name
        self._capacity = capacity
        self._is_closed = False
        self._messages: deque[M] = deque()
        self._reader: asyncio.Future[None] | None = None
        # Senders without a turn. Their future yields True for a turn and False for a mailbox that closed.
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._turns = 0  # given, and not used yet

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def send_nowait(self, message: M) -> None:
        """Put `message` in or refuse: MailboxFull (also when others already wait for the room), MailboxClosed."""
        if self._is_closed:
            raise MailboxClosed(self._text("is closed"))
        if self._waiting or self._turns or len(self._messages) >= self._capacity:
            raise MailboxFull(self._text(f"is full, capacity {self._capacity}"))
        self._put(message)

    async def send(self, message: M) -> None:
        """Put `message` in, waiting for room: this is the backpressure. Raises MailboxClosed, also while waiting.

        Does not give way to other tasks when there is room. A send that raises, CancelledError too, stored nothing.
        """
        if self._is_closed:
            raise MailboxClosed(self._text("is closed"))
        if self._waiting or self._turns or len(self._messages) >= self._capacity:
            await self._wait_turn()
            self._put(message)
            self._give_turns()
        else:
            self._put(message)

    async def receive(self) -> M:
        """Take the oldest message, waiting for one. Raises MailboxClosed once closed *and* empty.

        A receive that is cancelled took nothing. RuntimeError if another receive is already waiting.
        """
        while not self._messages:
            if self._is_closed:
                raise MailboxClosed(self._text("is closed and empty"))
            await self._wait_message()
        message = self._messages.popleft()
        if self._waiting:
            self._give_turns()
        return message

    def drain_nowait(self) -> list[M]:
        """Take everything that is there, oldest first, perhaps nothing. One wake-up then pays for many messages.

        What is taken is the caller's: it is lost if the caller crashes half way through.
        """
        messages = list(self._messages)
        self._messages.clear()
        self._give_turns()
        return messages

    def close(self) -> None:
        """Refuse messages from now on; what is inside can still be received. Wakes everybody who waits. Idempotent."""
        self._is_closed = True
        self._wake_reader()
        while self._waiting:
            sender = self._waiting.popleft()
            if not sender.done():
                sender.set_result(False)

    def reopen(self) -> None:
        """Take messages again; what was left inside is still there. Idempotent."""
        self._is_closed = False

    def _put(self, message: M) -> None:
        self._messages.append(message)
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _wait_message(self) -> None:
        if self._reader is not None:
            raise RuntimeError(self._text("has one reader, and that one is already waiting"))
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    async def _wait_turn(self) -> None:
        """Return with the room for one message taken from the promised room, or raise and leave it to the next."""
        sender: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(sender)
        try:
            has_turn = await sender
        except asyncio.CancelledError:
            self._leave(sender)
            raise
        if has_turn:
            self._turns -= 1
        # A mailbox that closed after it gave the turn refuses as well: its reader may be gone by now.
        if not has_turn or self._is_closed:
            raise MailboxClosed(self._text("closed while a sender waited"))

    def _leave(self, sender: asyncio.Future[bool]) -> None:
        if sender.cancelled():
            # Not in the queue when room or a close came between the cancel and this line.
            with contextlib.suppress(ValueError):
                self._waiting.remove(sender)
        elif sender.result():
            self._turns -= 1
            self._give_turns()

    def _give_turns(self) -> None:
        while self._waiting and len(self._messages) + self._turns < self._capacity:
            sender = self._waiting.popleft()
            if not sender.done():
                sender.set_result(True)
                self._turns += 1

    def _text(self, what: str) -> str:
        return f"mailbox {self.name!r} {what}" if self.name else f"mailbox {what}"
