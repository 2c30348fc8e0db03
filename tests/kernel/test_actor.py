"""An actor handles its messages one by one, and its mailbox outlives it."""

from __future__ import annotations

import asyncio

import pytest

from chatmesh.kernel import Actor, Child, Mailbox, MailboxClosed
from tests.kernel.world import Teller, World, finish, teller, turns, until


class Diary(Actor[str]):
    def __init__(self, mailbox: Mailbox[str], diary: list[str]) -> None:
        super().__init__(mailbox)
        self.diary = diary

    async def on_start(self) -> None:
        self.diary.append("start")

    async def receive(self, message: str) -> None:
        await asyncio.sleep(0)
        self.diary.append(message)

    async def on_drain(self) -> None:
        self.diary.append(f"drain, {len(self.mailbox)} left")


async def test_drain_handles_what_is_inside_and_then_calls_on_drain() -> None:
    box, diary = Mailbox[str](9), list[str]()
    actor = Diary(box, diary)
    for message in "abc":
        box.send_nowait(message)
    actor_task = asyncio.create_task(actor.run(lambda: diary.append("up")))
    await turns(1)
    actor.drain()
    actor.drain()
    with pytest.raises(MailboxClosed):
        box.send_nowait("late")
    await finish(actor_task)
    assert diary == ["start", "up", "a", "b", "c", "drain, 0 left"]


async def test_drain_before_run_is_not_forgotten() -> None:
    box, diary = Mailbox[str](9), list[str]()
    actor = Diary(box, diary)
    actor.drain()
    await finish(asyncio.create_task(actor.run(lambda: None)))
    assert diary == ["start", "drain, 0 left"]


async def test_closed_mailbox_of_somebody_else_is_a_crash_and_no_end() -> None:
    other = Mailbox[str](1, name="other")
    other.close()

    class Forwarder(Actor[str]):
        async def receive(self, message: str) -> None:
            await other.send(message)

    box = Mailbox[str](1)
    box.send_nowait("message")
    with pytest.raises(MailboxClosed, match="other"):
        await Forwarder(box).run(lambda: None)


async def test_restarted_actor_reads_on_in_the_same_mailbox_without_the_message_that_crashed_it(
    world: World,
) -> None:
    box, told = Mailbox[object](9), list[tuple[object, int]]()
    task = await world.up(root := world.supervisor("root", teller("a", box, told)))
    for message in ("1", ValueError("boom"), "2", "3"):
        box.send_nowait(message)
    await world.saw("restarting root/a")
    box.send_nowait("sent during the backoff")
    await world.advance(1)
    await until(lambda: len(told) == 4)
    assert told == [("1", 1), ("2", 1), ("3", 2), ("sent during the backoff", 3)]
    root.drain()
    await finish(task)


async def test_mailbox_reopens_when_the_actor_is_restarted_after_a_drain(world: World) -> None:
    box, told = Mailbox[object](9), list[tuple[object, int]]()
    bomb = Mailbox[object](9)
    # One for all: the crash of the bomb drains the actor, which closes its mailbox.
    pair = Child(
        "pair", lambda: world.supervisor("pair", teller("a", box, told), teller("bomb", bomb), restarts=0)
    )
    task = await world.up(root := world.supervisor("root", pair))
    box.send_nowait("before")
    bomb.send_nowait(ValueError("boom"))
    await world.saw("restarting root/pair")
    assert box.is_closed
    await world.advance(1)
    await world.saw("started root/pair", times=2)
    box.send_nowait("after")
    await until(lambda: len(told) == 2)
    assert told == [("before", 1), ("after", 1)]
    root.drain()
    await finish(task)


async def test_sender_that_waits_hears_when_the_actor_is_drained(world: World) -> None:
    box = Mailbox[object](1)
    task = await world.up(root := world.supervisor("root", Child("a", lambda: Slow(box), drain_seconds=1)))
    sender = await full(box)
    root.drain()
    with pytest.raises(MailboxClosed):
        await finish(sender)
    await world.advance(1)
    await finish(task)


async def test_sender_that_waits_hears_when_the_actor_is_cancelled(world: World) -> None:
    box = Mailbox[object](1)
    task = await world.up(world.supervisor("root", Child("a", lambda: Slow(box))))
    sender = await full(box)
    task.cancel()
    with pytest.raises(MailboxClosed):
        await finish(sender)
    with pytest.raises(asyncio.CancelledError):
        await finish(task)


async def test_sender_that_waits_hears_when_the_actor_is_given_up(world: World) -> None:
    box = Mailbox[object](1)
    task = await world.up(world.supervisor("root", teller("a", box), restarts=0))
    box.send_nowait(ValueError("boom"))
    senders = [asyncio.create_task(box.send(message)) for message in "abc"]
    await until(task.done)
    results = await asyncio.gather(*senders, return_exceptions=True)
    assert isinstance(results[-1], MailboxClosed)
    assert isinstance(task.exception(), Exception)


async def test_sender_that_waits_hears_when_an_actor_without_restart_crashed(world: World) -> None:
    box = Mailbox[object](1)
    once = Child("once", lambda: Teller(box), restart=False)
    task = await world.up(root := world.supervisor("root", once))
    box.send_nowait(ValueError("boom"))
    await world.saw("stopped root/once")
    with pytest.raises(MailboxClosed):
        box.send_nowait("late")
    root.drain()
    await finish(task)


class Slow(Actor[object]):
    async def receive(self, message: object) -> None:
        await asyncio.Event().wait()


async def full(box: Mailbox[object]) -> asyncio.Task[None]:
    """One message in work, one inside, one that waits: the last, as the task that sends it."""
    await box.send("in work")
    await until(lambda: len(box) == 0)
    await box.send("inside")
    sender = asyncio.create_task(box.send("waits"))
    await turns(1)
    assert not sender.done()
    return sender
