"""A subscription's queue: what the client hands over, bounded by a number that we chose.

Taking everything that lies there at once costs one wake-up for many messages; nats-py's own iterator makes two tasks for each.
"""

from __future__ import annotations

from collections.abc import Callable

from chatmesh.broker.message import Msg
from chatmesh.kernel import Mailbox, MailboxFull
from chatmesh.telemetry import metrics

Tap = Callable[[Msg], None]


class Inbox:
    """With a `tap`, nothing is kept: the tap sees each message as it comes, in the connection's read loop, and only signals.
    It must not raise.

    Fed by the connection, read by one actor. Full, it counts what it loses and says so: the reader heals from the
    transcript, or its request is repeated; nothing is lost in silence.
    """

    def __init__(self, subject: str, capacity: int, tap: Tap | None = None) -> None:
        self.subject = subject
        self._tap = tap
        self.lost = 0
        self._mailbox: Mailbox[Msg] = Mailbox(capacity, name=subject)
        self._on_loss: Callable[[], None] | None = None

    def on_loss(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when a message had to be dropped. It must only signal."""
        self._on_loss = listener

    def put(self, message: Msg) -> None:
        """In the connection's read loop, so it never raises."""
        if self._mailbox.is_closed:
            return
        try:
            if self._tap is not None:
                self._tap(message)
            else:
                self._mailbox.send_nowait(message)
        except MailboxFull:
            self.lose()

    def lose(self) -> None:
        """Counts a message that was dropped here or in the client."""
        self.lost += 1
        metrics.errors.labels("broker", "inbox_full").inc()
        if self._on_loss is not None:
            self._on_loss()

    async def take(self) -> list[Msg]:
        """Everything that lies here, at least one. Raises MailboxClosed at the end."""
        first = await self._mailbox.receive()
        return [first, *self._mailbox.drain_nowait()]

    def close(self) -> None:
        self._mailbox.close()

    def __len__(self) -> int:
        return len(self._mailbox)
