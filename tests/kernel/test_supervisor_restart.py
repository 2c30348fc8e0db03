"""What crashes comes back, by itself, until it does so too often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatmesh.kernel import (
    Child,
    ChildCancelled,
    ChildReturned,
    EventKind,
    Mailbox,
    RestartIntensityExceeded,
    Service,
    StartFailed,
    State,
    Supervisor,
    Unrepairable,
    Unrepaired,
    real_cause,
)
from tests.kernel.world import Scripted, Teller, World, finish, obeys, scripted, teller, until

Started = Callable[[], None]
BOOM = ValueError("boom")


def told() -> list[tuple[object, int]]:
    return []


async def test_siblings_keep_their_state_when_one_crashes(world: World) -> None:
    a, b, told_a, told_b = Mailbox[object](9), Mailbox[object](9), told(), told()
    root = world.supervisor("root", teller("a", a, told_a), teller("b", b, told_b))
    task = await world.up(root)
    for message in ("before", BOOM, "after"):
        a.send_nowait(message)
    b.send_nowait("before")
    await world.advance(1)
    await until(lambda: len(told_a) == 2)
    b.send_nowait("after")
    await until(lambda: len(told_b) == 2)
    assert (told_a, told_b) == ([("before", 1), ("after", 1)], [("before", 1), ("after", 2)])
    root.drain()
    await finish(task)


async def crash_by_a_cancelled_future(_: Scripted, __: Started) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def crash_by_raising_cancelled(_: Scripted, __: Started) -> None:
    raise asyncio.CancelledError


async def crash_by_cancelling_itself(_: Scripted, __: Started) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "dies", [crash_by_a_cancelled_future, crash_by_raising_cancelled, crash_by_cancelling_itself]
)
async def test_child_that_dies_of_its_own_cancel_is_restarted(
    world: World, dies: Callable[[Scripted, Started], asyncio.Future[None]]
) -> None:
    lives = iter([dies, obeys])

    async def script(service: Scripted, started: Started) -> None:
        started()
        await next(lives)(service, started)

    task = world.begin(root := world.supervisor("root", scripted("a", script)))
    event = await world.saw("crashed root/a")
    assert isinstance(event.error, ChildCancelled)
    assert isinstance(event.error.__cause__, asyncio.CancelledError)
    await world.advance(1)
    await world.saw("started root/a", times=2)
    root.drain()
    await finish(task)


async def test_child_that_returns_undrained_is_restarted(world: World) -> None:
    lives = iter([False, True])

    async def script(service: Scripted, started: Started) -> None:
        started()
        if next(lives):
            await service.drained.wait()

    task = world.begin(root := world.supervisor("root", scripted("a", script)))
    assert isinstance((await world.saw("crashed root/a")).error, ChildReturned)
    await world.advance(1)
    await world.saw("started root/a", times=2)
    root.drain()
    await finish(task)


async def test_factory_that_raises_on_a_restart_counts_as_a_crash_and_is_retried(world: World) -> None:
    box = Mailbox[object](9)
    works = iter([True, False, True])

    def make() -> Service:
        if not next(works):
            raise OSError("flaky")
        return Teller(box)

    task = await world.up(root := world.supervisor("root", Child("a", make)))
    box.send_nowait(BOOM)
    await world.advance(1)
    event = await world.saw("restarting root/a", times=2)
    assert (str(event.error), event.backoff_seconds) == ("flaky", 2.0)
    await world.advance(2)
    await world.saw("started root/a", times=2)
    root.drain()
    await finish(task)


async def test_crash_before_up_counts_as_any_other_on_a_restart(world: World) -> None:
    lives = iter(["up and down", "down", "down", "up"])

    async def script(service: Scripted, started: Started) -> None:
        how = next(lives)
        if how == "down":
            raise OSError("not yet")
        started()
        if how == "up and down":
            raise BOOM
        await service.drained.wait()

    task = world.begin(root := world.supervisor("root", scripted("a", script)))
    for times, seconds in enumerate([1, 2, 4], start=1):
        await world.saw("restarting root/a", times=times)
        await world.advance(seconds)
    await world.saw("started root/a", times=2)
    assert root.children_state()["a"].restarts == 3
    root.drain()
    await finish(task)


async def test_next_child_waits_when_one_crashes_right_after_it_was_up(world: World) -> None:
    lives = iter([False, True])

    async def script(service: Scripted, started: Started) -> None:
        started()
        if not next(lives):
            raise BOOM
        await service.drained.wait()

    root = world.supervisor("root", scripted("a", script), scripted("b", obeys))
    task = world.begin(root)
    await world.saw("restarting root/a")
    assert root.children_state()["b"].state is State.STOPPED
    await world.advance(1)
    await world.saw("started root/b")
    root.drain()
    await finish(task)


async def test_backoff_grows_for_the_child_that_crashes_and_not_for_its_sibling(world: World) -> None:
    a, b = Mailbox[object](9), Mailbox[object](9)
    task = await world.up(root := world.supervisor("root", teller("a", a), teller("b", b)))
    a.send_nowait(BOOM)
    await world.advance(1)
    a.send_nowait(BOOM)
    assert (await world.saw("restarting root/a", times=2)).backoff_seconds == 2.0
    b.send_nowait(BOOM)
    assert (await world.saw("restarting root/b")).backoff_seconds == 1.0
    root.drain()
    await finish(task)


async def test_too_many_crashes_stop_the_siblings_and_raise_with_the_real_cause(world: World) -> None:
    box = Mailbox[object](9)
    errors = [ValueError(str(number)) for number in range(3)]
    root = world.supervisor(
        "root", scripted("left", obeys), teller("a", box), scripted("right", obeys), restarts=2
    )
    task = await world.up(root)
    for number, error in enumerate(errors):
        box.send_nowait(error)
        if number < 2:
            await world.advance(2**number)
    with pytest.raises(
        RestartIntensityExceeded, match=r"root granted 2 restarts .* root/a: ValueError"
    ) as caught:
        await finish(task)
    assert caught.value.__cause__ is errors[-1]
    assert (caught.value.path, caught.value.child_path) == ("root", "root/a")
    assert (await world.saw("gave_up root")).error is caught.value
    assert world.seen(EventKind.STOPPED) == ["stopped root/right", "stopped root/a", "stopped root/left"]


async def test_intensity_window_slides(world: World) -> None:
    box = Mailbox[object](9)
    task = await world.up(root := world.supervisor("root", teller("a", box), restarts=1))
    for times in range(1, 6):
        box.send_nowait(BOOM)
        event = await world.saw("restarting root/a", times=times)
        assert event.backoff_seconds == 1.0  # the window forgot the crash before, and so did the backoff
        await world.advance(30)
        await world.saw("started root/a", times=times + 1)
    assert not task.done()
    root.drain()
    await finish(task)


async def test_nested_supervisor_without_restarts_is_one_for_all(world: World) -> None:
    a, b, told_a, told_b = Mailbox[object](9), Mailbox[object](9), told(), told()

    def pair() -> Supervisor:
        return world.supervisor("pair", teller("a", a, told_a), teller("b", b, told_b), restarts=0)

    task = await world.up(root := world.supervisor("root", scripted("c", obeys), Child("pair", pair)))
    b.send_nowait("before")
    await until(lambda: len(told_b) == 1)
    a.send_nowait(BOOM)
    await world.saw("restarting root/pair")
    await world.advance(1)
    await world.saw("started root/pair", times=2)
    b.send_nowait("after")
    await until(lambda: len(told_b) == 2)
    assert told_b == [("before", 1), ("after", 1)]
    assert world.seen().count("started root/c") == 1
    root.drain()
    await finish(task)


async def test_failure_escalates_through_nested_supervisors_to_the_caller(world: World) -> None:
    box = Mailbox[object](9)
    inner = Child("in", lambda: world.supervisor("in", teller("a", box), scripted("b", obeys), restarts=0))
    task = await world.up(world.supervisor("root", scripted("c", obeys), inner, restarts=0))
    box.send_nowait(BOOM)
    with pytest.raises(RestartIntensityExceeded) as caught:
        await finish(task)
    below = caught.value.__cause__
    assert isinstance(below, RestartIntensityExceeded)
    assert (caught.value.child_path, below.child_path) == ("root/in", "root/in/a")
    assert real_cause(caught.value) is BOOM
    rest = ["stopped root/in/b", "stopped root/in/a", "stopped root/in", "stopped root/c"]
    assert world.seen(EventKind.STOPPED) == rest


async def test_what_no_restart_can_mend_ends_the_whole_tree_at_once(world: World) -> None:
    """However deep, and however many restarts are granted."""
    box = Mailbox[object](9)
    inner = Child("in", lambda: world.supervisor("in", teller("a", box)))
    task = await world.up(world.supervisor("root", scripted("b", obeys), inner))
    crash = Unrepairable("gone for good")
    crash.__cause__ = BOOM
    box.send_nowait(crash)
    with pytest.raises(Unrepaired) as caught:
        await finish(task)
    assert caught.value.child_path == "root/in"
    assert real_cause(caught.value) is BOOM
    assert world.seen(EventKind.RESTARTING) == []
    assert world.seen(EventKind.STOPPED) == ["stopped root/in/a", "stopped root/in", "stopped root/b"]


async def test_nested_supervisor_that_fails_to_start_again_is_retried(world: World) -> None:
    box = Mailbox[object](9)
    works = iter([True, False, True])

    def make() -> Service:
        if not next(works):
            raise OSError("not yet")
        return Teller(box)

    inner = Child("in", lambda: world.supervisor("in", scripted("a", obeys), Child("b", make), restarts=0))
    task = await world.up(root := world.supervisor("root", inner))
    box.send_nowait(BOOM)
    await world.saw("restarting root/in")
    await world.advance(1)
    event = await world.saw("restarting root/in", times=2)
    assert isinstance(event.error, StartFailed)
    assert isinstance(real_cause(event.error), OSError)
    await world.advance(2)
    await world.saw("started root/in", times=2)
    root.drain()
    await finish(task)


async def test_two_crashes_in_one_turn_of_the_loop_are_both_observed(world: World) -> None:
    a, b = Mailbox[object](9), Mailbox[object](9)
    task = await world.up(world.supervisor("root", teller("a", a), teller("b", b), restarts=0))
    a.send_nowait(ValueError("a"))
    b.send_nowait(ValueError("b"))
    with pytest.raises(RestartIntensityExceeded):
        await finish(task)
    assert sorted(world.seen(EventKind.CRASHED)) == ["crashed root/a", "crashed root/b"]
    assert world.seen(EventKind.CANCELLED) == []


async def test_started_from_a_life_before_says_nothing_about_the_present_one(world: World) -> None:
    kept: list[Started] = []

    async def script(_: Scripted, started: Started) -> None:
        kept.append(started)
        if len(kept) == 1:
            started()
            started()
            raise BOOM
        await asyncio.Event().wait()

    task = world.begin(root := world.supervisor("root", scripted("a", script)))
    await world.advance(1)
    await until(lambda: len(kept) == 2)
    kept[0]()
    assert root.children_state()["a"].state is State.STARTING
    assert world.seen(EventKind.STARTED) == ["started root/a"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish(task)
