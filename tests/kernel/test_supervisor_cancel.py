"""A cancel ends the whole tree at once, is never lost, and leaves no task, whenever it comes and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatmesh.kernel import Child, ChildState, EventKind, Mailbox, State
from tests.kernel.world import (
    Scripted,
    World,
    ignores_drain,
    never_up,
    obeys,
    scripted,
    teller,
    turns,
    until,
)

Started = Callable[[], None]


async def ends_cancelled(task: asyncio.Task[None]) -> None:
    await until(task.done)
    assert task.cancelled(), task


async def test_cancel_ends_all_children_at_once(world: World) -> None:
    root = world.supervisor("root", *(scripted(name, ignores_drain) for name in "abc"))
    task = await world.up(root)
    task.cancel()
    await ends_cancelled(task)
    assert world.seen(EventKind.STOPPED, EventKind.CANCELLED) == [
        *("stopped root/c", "stopped root/b", "stopped root/a"),
    ]


async def test_cancel_reaches_through_nested_supervisors(world: World) -> None:
    inner = Child("in", lambda: world.supervisor("in", scripted("b", ignores_drain)))
    task = await world.up(world.supervisor("root", scripted("a", ignores_drain), inner))
    task.cancel()
    await ends_cancelled(task)
    assert sorted(world.seen(EventKind.STOPPED)) == ["stopped root/a", "stopped root/in", "stopped root/in/b"]


async def test_cancel_during_a_drain_does_not_wait_for_the_deadline(world: World) -> None:
    root = world.supervisor("root", scripted("a", ignores_drain), scripted("b", ignores_drain))
    task = await world.up(root)
    root.drain()
    await until(lambda: world.clock.sleepers == 1)
    task.cancel()
    await ends_cancelled(task)
    assert world.clock.sleepers == 0


async def test_cancel_during_a_backoff(world: World) -> None:
    box = Mailbox[object](9)
    task = await world.up(world.supervisor("root", teller("a", box)))
    box.send_nowait(ValueError("boom"))
    await world.saw("restarting root/a")
    task.cancel()
    await ends_cancelled(task)
    assert world.seen()[-1] == "stopped root/a"


async def test_cancel_while_starting(world: World) -> None:
    root = world.supervisor("root", scripted("a", obeys), scripted("stuck", never_up))
    task = world.begin(root)
    await until(lambda: root.children_state().get("stuck") == ChildState(State.STARTING, 0))
    task.cancel()
    await ends_cancelled(task)


async def test_cancel_before_the_first_turn(world: World) -> None:
    task = world.begin(world.supervisor("root", scripted("a", obeys)))
    task.cancel()
    await ends_cancelled(task)
    assert world.seen() == []


async def test_cancel_while_a_failure_escalates_wins(world: World) -> None:
    box = Mailbox[object](9)
    task = await world.up(
        world.supervisor("root", scripted("a", ignores_drain), teller("b", box), restarts=0)
    )
    box.send_nowait(ValueError("boom"))
    await world.saw("gave_up root")
    await turns(5)  # it now waits for the drain of a
    task.cancel()
    await ends_cancelled(task)


async def test_second_cancel_is_passed_on_to_a_child_stuck_in_its_cleanup(world: World) -> None:
    async def cleans_up_for_ever(service: Scripted, started: Started) -> None:
        try:
            await ignores_drain(service, started)
        finally:
            await asyncio.Event().wait()

    inner = Child("in", lambda: world.supervisor("in", scripted("b", cleans_up_for_ever)))
    task = await world.up(world.supervisor("root", scripted("a", ignores_drain), inner))
    task.cancel()
    await turns(20)
    assert not task.done()
    task.cancel()
    await ends_cancelled(task)


async def test_child_that_loses_its_cancel_is_drained_as_well(world: World) -> None:
    async def loses_it(service: Scripted, started: Started) -> None:
        try:
            await ignores_drain(service, started)
        except asyncio.CancelledError:
            await service.drained.wait()

    task = await world.up(world.supervisor("root", scripted("a", loses_it)))
    task.cancel()
    await ends_cancelled(task)
    assert world.seen() == ["started root/a", "stopped root/a"]


async def test_double_cancel_still_waits_for_a_cleanup_that_swallows_it(world: World) -> None:
    gate = asyncio.Event()

    async def stubborn(service: Scripted, started: Started) -> None:
        try:
            await ignores_drain(service, started)
        finally:
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    continue

    task = await world.up(world.supervisor("root", scripted("a", stubborn)))
    for _ in range(3):
        task.cancel()
        await turns(5)
    assert not task.done()
    gate.set()
    await ends_cancelled(task)


@pytest.mark.parametrize("restarts", [0, 5])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("offset", range(12))
async def test_cancel_that_comes_with_a_crash_is_not_lost(
    world: World, offset: int, depth: int, restarts: int
) -> None:
    box = Mailbox[object](9)
    child = teller("a", box)
    for level in range(depth):
        child = nested(world, f"level{level}", child)
    root = world.supervisor("root", scripted("left", obeys), child, restarts=restarts)
    task = await world.up(root)
    box.send_nowait(ValueError("boom"))
    await turns(offset)
    if task.cancel():  # False: the failure has reached the caller before
        await ends_cancelled(task)
    else:
        assert isinstance(task.exception(), Exception)


def nested(world: World, name: str, child: Child) -> Child:
    return Child(name, lambda: world.supervisor(name, child, restarts=0))


@pytest.mark.parametrize("offset", range(12))
async def test_cancel_that_comes_with_the_end_of_a_drain_is_not_lost(world: World, offset: int) -> None:
    root = world.supervisor("root", teller("a"), nested(world, "in", teller("b")))
    task = await world.up(root)
    root.drain()
    await turns(offset)
    if task.cancel():
        await ends_cancelled(task)
    else:
        task.result()


async def test_cancel_that_comes_before_the_crash_in_one_turn_is_not_lost(world: World) -> None:
    box = Mailbox[object](9)
    task = await world.up(world.supervisor("root", teller("a", box), restarts=0))
    task.cancel()
    box.send_nowait(ValueError("boom"))
    await ends_cancelled(task)
