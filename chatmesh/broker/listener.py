"""A service that reads one subscription: the frame that every reader of the mesh shares."""

from __future__ import annotations

from collections.abc import Callable

from chatmesh.broker.connection import Connection
from chatmesh.broker.inbox import Inbox, Tap
from chatmesh.broker.message import Msg
from chatmesh.kernel import MailboxClosed, Service


class Listener(Service):
    """Iterates its subscription, so that a crash in a handler reaches the supervisor: in a callback of nats-py it would
    vanish. Subclasses say what they listen to and what they do with a message."""

    def __init__(self, connection: Connection, *, capacity: int) -> None:
        self._connection = connection
        self._capacity = capacity
        self._inbox: Inbox | None = None
        self._is_draining = False

    def subject(self) -> str:
        """What to subscribe to; asked once the connection is up."""
        raise NotImplementedError

    async def on_subscribed(self) -> None:
        """Everything from now on is heard. What is read here may overlap with it, and leaves no gap."""

    async def on_message(self, message: Msg) -> None:
        raise NotImplementedError

    def tap(self) -> Tap | None:
        """What takes each message in the connection's read loop instead of `on_message`; it must not raise."""
        return None

    def on_loss(self) -> None:
        """The inbox was full and a message was dropped. Only signal here."""

    async def run(self, started: Callable[[], None]) -> None:
        inbox = self._inbox = await self._connection.subscribe(
            self.subject(), capacity=self._capacity, tap=self.tap()
        )
        inbox.on_loss(self.on_loss)
        try:
            # Who has started is heard: without it a subscription may still lie in the client's buffer.
            await self._connection.flush()
            await self.on_subscribed()
            if self._is_draining:
                inbox.close()
            started()
            while True:
                for message in await inbox.take():
                    await self.on_message(message)
        except MailboxClosed:
            return
        finally:
            await self._connection.unsubscribe(inbox)

    def drain(self) -> None:
        self._is_draining = True
        if self._inbox is not None:
            self._inbox.close()
