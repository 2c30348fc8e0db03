"""Whatever order senders, readers, cancels and closes come in, a mailbox keeps its four promises."""

from __future__ import annotations

import asyncio
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.kernel import Mailbox, MailboxClosed, MailboxFull
from tests.kernel.world import turns

STEPS = st.lists(
    st.one_of(
        st.sampled_from(["send", "send_nowait", "receive", "drain", "close", "reopen", "turn"]),
        st.tuples(st.sampled_from(["cancel sender", "cancel reader"]), st.integers(0, 5)),
    ),
    max_size=60,
)


class Traffic:
    """One mailbox in use. Messages are numbers in the order of the calls, so order can be seen in the messages."""

    def __init__(self, capacity: int) -> None:
        self.box = Mailbox[int](capacity)
        self.numbers = count()
        self.accepted: set[int] = set()
        self.received: list[int] = []
        self.senders: list[asyncio.Task[None]] = []
        self.reader: asyncio.Task[None] | None = None

    async def send(self) -> None:
        number = next(self.numbers)
        try:
            await self.box.send(number)
        except MailboxClosed:
            return
        self.accepted.add(number)

    def send_nowait(self) -> None:
        number = next(self.numbers)
        try:
            self.box.send_nowait(number)
        except (MailboxClosed, MailboxFull):
            return
        self.accepted.add(number)

    async def receive(self) -> None:
        try:
            self.received.append(await self.box.receive())
        except MailboxClosed:
            return

    async def step(self, step: str | tuple[str, int]) -> None:
        match step:
            case "send":
                self.senders.append(asyncio.create_task(self.send()))
            case "send_nowait":
                self.send_nowait()
            case "receive" if self.reader is None or self.reader.done():
                self.reader = asyncio.create_task(self.receive())
            case "drain":
                self.received.extend(self.box.drain_nowait())
            case "close":
                self.box.close()
            case "reopen":
                self.box.reopen()
            case "turn":
                await turns(1)
            case ("cancel sender", which) if self.senders:
                self.senders[which % len(self.senders)].cancel()
            case ("cancel reader", _) if self.reader is not None:
                self.reader.cancel()
            case _:
                pass

    async def finish(self) -> None:
        """Let every sender that still waits get rid of its message, then look at what is left."""
        if self.reader is not None:
            self.reader.cancel()
            await asyncio.wait({self.reader})
        for _ in range(len(self.senders) + 2):
            self.received.extend(self.box.drain_nowait())
            await turns(2)
        assert all(sender.done() for sender in self.senders), "a sender waits although there is room"
        self.received.extend(self.box.drain_nowait())


@given(capacity=st.integers(1, 3), steps=STEPS)
@settings(max_examples=500, deadline=None)
async def test_nothing_is_lost_doubled_reordered_or_stored_above_the_bound(
    capacity: int, steps: list[str | tuple[str, int]]
) -> None:
    traffic = Traffic(capacity)
    for step in steps:
        await traffic.step(step)
        assert len(traffic.box) <= capacity
    await traffic.finish()
    assert traffic.received == sorted(traffic.accepted)
