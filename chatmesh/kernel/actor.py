"""A service that other actors feed: it handles the messages of its mailbox, one at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from chatmesh.kernel.failures import MailboxClosed
from chatmesh.kernel.mailbox import Mailbox
from chatmesh.kernel.service import Service

M = TypeVar("M")


class Actor(Service, Generic[M]):
    """Subclass it and write `receive`. Its fields have one writer: no two of its methods run at the same time.

    The mailbox comes from outside and belongs to the place in the tree: the actor made after a crash gets the same
    one, so references stay valid and waiting messages are kept. The message that crashed the actor is gone. During a
    backoff the mailbox stays open, and fills.
    """

    def __init__(self, mailbox: Mailbox[M]) -> None:
        self.mailbox = mailbox
        self._is_draining = False

    @abstractmethod
    async def receive(self, message: M) -> None:
        """Handle one message. Raising is a crash."""

    async def on_start(self) -> None:
        """Before the first message and before the actor counts as up."""

    async def on_drain(self) -> None:
        """After the last message of a drain. Not called after a crash or a cancel."""

    async def run(self, started: Callable[[], None]) -> None:
        if not self._is_draining:
            self.mailbox.reopen()  # closed if an actor before this one was drained
        await self.on_start()
        started()
        while True:
            try:
                message = await self.mailbox.receive()
            except MailboxClosed:
                break
            await self.receive(message)
        await self.on_drain()

    def drain(self) -> None:
        """Refuse new messages at once; `run` handles those that are inside, then returns."""
        self._is_draining = True
        self.mailbox.close()
