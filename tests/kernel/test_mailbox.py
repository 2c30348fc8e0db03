"""A mailbox loses nothing, doubles nothing, is never over-full, and serves senders in their order."""

from __future__ import annotations

import asyncio

import pytest

from chatmesh.kernel import Mailbox, MailboxClosed, MailboxFull
from tests.kernel.world import turns


def filled(capacity: int) -> Mailbox[str]:
    box = Mailbox[str](capacity, name="box")
    for number in range(capacity):
        box.send_nowait(f"first {number}")
    return box


async def waiting(box: Mailbox[str], *messages: str) -> list[asyncio.Task[None]]:
    """Senders of these messages, each of them waiting, in this order."""
    senders = [asyncio.create_task(box.send(message)) for message in messages]
    await turns(1)
    assert not any(sender.done() for sender in senders)
    return senders


@pytest.mark.parametrize("capacity", [0, -1])
def test_capacity_below_one_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mailbox[str](capacity)


async def test_messages_come_out_in_the_order_in_which_they_went_in() -> None:
    box = filled(3)
    assert [await box.receive() for _ in range(3)] == ["first 0", "first 1", "first 2"]


async def test_send_nowait_refuses_when_full_and_stores_nothing() -> None:
    box = filled(1)
    with pytest.raises(MailboxFull, match="'box' is full, capacity 1"):
        box.send_nowait("second")
    assert box.drain_nowait() == ["first 0"]


async def test_send_waits_for_room() -> None:
    box = filled(1)
    (sender,) = await waiting(box, "second")
    assert await box.receive() == "first 0"
    await sender
    assert await box.receive() == "second"


async def test_send_with_room_does_not_give_way() -> None:
    box = Mailbox[str](1)
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    await box.send("message")
    assert ran == []


async def test_waiting_senders_are_served_in_their_order() -> None:
    box = filled(2)
    senders = await waiting(box, "a", "b", "c")
    got = []
    for _ in range(5):
        got.append(await box.receive())
        await turns(1)
    assert got == ["first 0", "first 1", "a", "b", "c"]
    await asyncio.gather(*senders)


async def test_nobody_overtakes_a_sender_that_waits() -> None:
    box = filled(2)
    (sender,) = await waiting(box, "patient")
    box.drain_nowait()
    with pytest.raises(MailboxFull):
        box.send_nowait("pushy")  # there is room for two, but one came first and has not run yet
    await box.send("late")
    await sender
    assert box.drain_nowait() == ["patient", "late"]


async def test_cancelled_sender_has_sent_nothing() -> None:
    box = filled(1)
    cancelled, other = await waiting(box, "cancelled", "other")
    cancelled.cancel()
    assert await box.receive() == "first 0"
    await other
    assert box.drain_nowait() == ["other"]
    assert cancelled.cancelled()


async def test_sender_cancelled_after_it_got_its_turn_passes_it_on() -> None:
    box = filled(1)
    cancelled, other = await waiting(box, "cancelled", "other")
    assert await box.receive() == "first 0"
    cancelled.cancel()  # its wake-up is on the way
    await other
    assert box.drain_nowait() == ["other"]
    assert cancelled.cancelled()


async def test_receive_that_is_cancelled_takes_nothing() -> None:
    box = Mailbox[str](1)
    reader = asyncio.create_task(box.receive())
    await turns(1)
    box.send_nowait("message")
    reader.cancel()
    await asyncio.wait({reader})
    assert reader.cancelled()
    assert await box.receive() == "message"


async def test_receive_wakes_for_a_message() -> None:
    box = Mailbox[str](1)
    reader = asyncio.create_task(box.receive())
    await turns(1)
    await box.send("message")
    assert await reader == "message"


async def test_second_reader_is_refused_while_one_waits() -> None:
    box = Mailbox[str](1)
    reader = asyncio.create_task(box.receive())
    await turns(1)
    with pytest.raises(RuntimeError, match="one reader"):
        await box.receive()
    box.send_nowait("message")
    assert await reader == "message"


async def test_drain_nowait_takes_everything_and_wakes_as_many_senders_as_there_is_room() -> None:
    box = filled(2)
    senders = await waiting(box, "a", "b", "c")
    assert box.drain_nowait() == ["first 0", "first 1"]
    await turns(1)
    assert [sender.done() for sender in senders] == [True, True, False]
    assert box.drain_nowait() == ["a", "b"]
    await asyncio.gather(*senders)
    assert box.drain_nowait() == ["c"]
    assert box.drain_nowait() == []


async def test_closed_mailbox_refuses_senders_and_gives_out_what_is_inside() -> None:
    box = filled(1)
    box.close()
    box.close()
    assert box.is_closed
    with pytest.raises(MailboxClosed):
        box.send_nowait("late")
    with pytest.raises(MailboxClosed):
        await box.send("late")
    assert await box.receive() == "first 0"
    with pytest.raises(MailboxClosed):
        await box.receive()


async def test_close_wakes_every_sender_and_the_reader() -> None:
    box = filled(1)
    senders = await waiting(box, "a", "b")
    box.close()
    results = await asyncio.gather(*senders, return_exceptions=True)
    assert [type(result) for result in results] == [MailboxClosed, MailboxClosed]
    empty = Mailbox[str](1)
    reader = asyncio.create_task(empty.receive())
    await turns(1)
    empty.close()
    with pytest.raises(MailboxClosed):
        await reader


async def test_close_also_refuses_a_sender_that_just_got_its_turn() -> None:
    box = filled(1)
    (sender,) = await waiting(box, "a")
    box.drain_nowait()
    box.close()
    with pytest.raises(MailboxClosed):
        await sender
    assert len(box) == 0


async def test_sender_refused_by_a_close_stays_refused_when_it_reopens_at_once() -> None:
    box = filled(1)
    (sender,) = await waiting(box, "a")
    box.close()
    box.reopen()
    with pytest.raises(MailboxClosed):
        await sender
    assert box.drain_nowait() == ["first 0"]


async def test_reopened_mailbox_keeps_what_was_inside() -> None:
    box = filled(2)
    assert await box.receive() == "first 0"
    box.close()
    box.reopen()
    box.send_nowait("second")
    assert (box.is_closed, len(box), box.capacity) == (False, 2, 2)
    assert box.drain_nowait() == ["first 1", "second"]
