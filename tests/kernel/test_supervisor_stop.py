"""A tree comes up from left to right and goes down from right to left, whatever its children do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chatmesh.kernel import (
    Child,
    ChildReturned,
    ChildState,
    EventKind,
    Mailbox,
    MailboxClosed,
    StartFailed,
    State,
    Supervisor,
    real_cause,
)
from tests.kernel.world import (
    Scripted,
    Teller,
    World,
    finish,
    ignores_drain,
    never_up,
    obeys,
    scripted,
    teller,
    turns,
    until,
)

Started = Callable[[], None]


async def test_children_start_left_to_right_each_up_before_the_next(world: World) -> None:
    gates = {name: asyncio.Event() for name in "abc"}
    begun: list[str] = []

    def slow(name: str) -> Child:
        async def script(service: Scripted, started: Started) -> None:
            begun.append(name)
            await gates[name].wait()
            await obeys(service, started)

        return scripted(name, script)

    root = world.supervisor("root", *map(slow, "abc"))
    whole: list[str] = []
    task = asyncio.create_task(root.run(lambda: whole.append("up")))
    for count, name in enumerate("abc", start=1):
        await turns(9)
        assert (len(begun), whole) == (count, [])
        gates[name].set()
    await until(lambda: whole == ["up"])
    root.drain()
    await finish(task)
    assert world.seen() == [
        *("started root/a", "started root/b", "started root/c"),
        *("stopped root/c", "stopped root/b", "stopped root/a"),
    ]


async def test_each_child_is_at_rest_before_the_one_to_its_left_is_drained(world: World) -> None:
    left, right, gate = Scripted(obeys), Scripted(obeys), asyncio.Event()

    async def lingers(service: Scripted, started: Started) -> None:
        await obeys(service, started)
        await gate.wait()

    right.script = lingers
    root = world.supervisor("root", Child("left", lambda: left), Child("right", lambda: right))
    task = await world.up(root)
    root.drain()
    root.drain()
    await turns(9)
    assert (right.drained.is_set(), left.drained.is_set()) == (True, False)
    gate.set()
    await finish(task)
    assert left.drained.is_set()


async def test_supervisor_drained_before_it_runs_starts_nothing(world: World) -> None:
    root = world.supervisor("root", teller("a"))
    root.drain()
    await finish(world.begin(root))
    assert world.seen() == []


async def test_supervisor_without_children_waits_for_its_drain(world: World) -> None:
    task = await world.up(root := world.supervisor("root"))
    await turns(9)
    assert not task.done()
    root.drain()
    await finish(task)


async def test_child_that_is_not_done_at_its_deadline_is_cancelled(world: World) -> None:
    root = world.supervisor("root", scripted("a", obeys), scripted("b", ignores_drain, drain_seconds=3))
    task = await world.up(root)
    root.drain()
    await world.advance(2.9)
    await turns(9)
    assert not task.done()
    await world.advance(0.1)
    await finish(task)
    assert world.seen()[2:] == ["cancelled root/b", "stopped root/b", "stopped root/a"]


async def test_child_stuck_in_its_start_does_not_hang_the_drain(world: World) -> None:
    root = world.supervisor("root", scripted("a", obeys), scripted("stuck", never_up), scripted("c", obeys))
    whole: list[str] = []
    task = asyncio.create_task(root.run(lambda: whole.append("up")))
    await until(lambda: root.children_state().get("stuck") == ChildState(State.STARTING, 0))
    root.drain()
    await world.advance(5)
    await finish(task)
    assert world.seen() == ["started root/a", "cancelled root/stuck", "stopped root/stuck", "stopped root/a"]
    assert whole == []


async def test_drain_during_a_backoff_does_not_wait_for_its_end(world: World) -> None:
    box = Mailbox[object](9)
    task = await world.up(root := world.supervisor("root", teller("a", box)))
    box.send_nowait(ValueError("boom"))
    await world.saw("restarting root/a")
    root.drain()
    await finish(task)
    assert world.seen()[-1] == "stopped root/a"
    with pytest.raises(MailboxClosed):
        box.send_nowait("late")


async def test_death_during_a_drain_is_observed_and_does_not_hang(world: World) -> None:
    box = Mailbox[object](9)
    task = await world.up(root := world.supervisor("root", teller("a", box)))
    box.send_nowait("fine")
    box.send_nowait(ValueError("boom"))
    root.drain()
    await finish(task)
    assert world.seen() == ["started root/a", "crashed root/a", "stopped root/a"]


async def test_sender_hears_at_once_when_what_it_drains_into_dies(world: World) -> None:
    sink = Mailbox[object](1)
    heard: list[str] = []

    async def source(service: Scripted, started: Started) -> None:
        await obeys(service, started)
        sink.send_nowait(ValueError("boom"))
        await sink.send("waits")
        try:
            await sink.send("waits for room that the dead sink will not make")
        except MailboxClosed:
            heard.append("closed")

    root = world.supervisor("root", teller("sink", sink), scripted("source", source))
    task = await world.up(root)
    root.drain()
    await finish(task)
    assert heard == ["closed"]
    assert world.seen(EventKind.CANCELLED) == []


async def test_crash_before_up_stops_those_that_are_up_in_reverse_and_then_raises(world: World) -> None:
    async def bad(_: Scripted, __: Started) -> None:
        raise OSError("port in use")

    children = [scripted("a", obeys), scripted("b", obeys), scripted("bad", bad), scripted("d", obeys)]
    task = world.begin(world.supervisor("root", *children))
    with pytest.raises(StartFailed, match="root/bad did not start: OSError") as caught:
        await finish(task)
    assert (caught.value.path, caught.value.child_path) == ("root", "root/bad")
    assert isinstance(caught.value.__cause__, OSError)
    assert world.seen() == [
        *("started root/a", "started root/b", "crashed root/bad", "gave_up root"),
        *("stopped root/bad", "stopped root/b", "stopped root/a"),
    ]


async def test_factory_that_raises_on_the_first_start_is_a_failed_start(world: World) -> None:
    def make() -> Scripted:
        raise OSError("no such file")

    task = world.begin(world.supervisor("root", scripted("a", obeys), Child("bad", make)))
    with pytest.raises(StartFailed) as caught:
        await finish(task)
    assert isinstance(real_cause(caught.value), OSError)
    assert world.seen()[-1] == "stopped root/a"


async def at_once(_: Scripted, __: Started) -> None:
    """Returns before it is up."""


async def test_child_that_returns_before_it_is_up_is_a_failed_start(world: World) -> None:
    with pytest.raises(StartFailed) as caught:
        await finish(world.begin(world.supervisor("root", scripted("a", at_once))))
    assert isinstance(caught.value.__cause__, ChildReturned)


async def test_child_without_restart_may_return_before_it_is_up_and_the_next_one_starts(world: World) -> None:
    root = world.supervisor("root", scripted("job", at_once, restart=False), scripted("b", obeys))
    task = await world.up(root)
    assert world.seen() == ["stopped root/job", "started root/b"]
    root.drain()
    await finish(task)
    assert world.seen()[2:] == ["stopped root/b"]


async def test_child_without_restart_that_crashes_is_observed_and_left_alone(world: World) -> None:
    async def job(_: Scripted, started: Started) -> None:
        started()
        raise ValueError("boom")

    root = world.supervisor("root", scripted("job", job, restart=False), restarts=0)
    task = await world.up(root)
    event = await world.saw("crashed root/job")
    await world.saw("stopped root/job")
    assert isinstance(event.error, ValueError)
    assert not task.done()
    root.drain()
    await finish(task)


async def test_exception_raised_while_being_cancelled_is_observed(world: World) -> None:
    async def bad_end(service: Scripted, started: Started) -> None:
        try:
            await ignores_drain(service, started)
        finally:
            raise OSError("disk full")

    root = world.supervisor("root", scripted("a", bad_end))
    task = await world.up(root)
    root.drain()
    await world.advance(5)
    event = await world.saw("failed_while_cancelled root/a")
    await finish(task)
    assert isinstance(event.error, OSError)
    assert world.seen(EventKind.CRASHED) == []


async def test_drain_that_raises_is_observed_and_the_child_cancelled(world: World) -> None:
    class Undrainable(Scripted):
        def drain(self) -> None:
            raise OSError("not my day")

    root = world.supervisor("root", scripted("a", obeys), Child("b", lambda: Undrainable(obeys)))
    task = await world.up(root)
    root.drain()
    await finish(task)
    assert isinstance((await world.saw("crashed root/b")).error, OSError)
    assert world.seen(EventKind.STOPPED) == ["stopped root/b", "stopped root/a"]


async def test_nested_supervisor_stops_its_children_before_the_left_sibling_is_drained(world: World) -> None:
    def inner() -> Supervisor:
        return world.supervisor("any name", scripted("b", obeys), scripted("c", obeys))

    root = world.supervisor("root", scripted("a", obeys), Child("in", inner))
    task = await world.up(root)
    root.drain()
    await finish(task)
    up = ["started root/a", "started root/in/b", "started root/in/c", "started root/in"]
    down = ["stopped root/in/c", "stopped root/in/b", "stopped root/in", "stopped root/a"]
    assert world.seen() == up + down


async def test_children_state_shows_the_whole_tree(world: World) -> None:
    box = Mailbox[object](9)
    inner = Child("in", lambda: world.supervisor("in", teller("b", box)))
    root = world.supervisor("root", scripted("a", obeys), inner)
    assert root.children_state() == {}
    task = await world.up(root)
    running = ChildState(State.RUNNING, 0)
    assert root.children_state() == {"a": running, "in": running, "in/b": running}
    box.send_nowait(ValueError("boom"))
    await world.saw("restarting root/in/b")
    assert root.children_state()["in/b"] == ChildState(State.BACKING_OFF, 1)
    await world.advance(1)
    await world.saw("started root/in/b", times=2)
    assert root.children_state()["in/b"] == ChildState(State.RUNNING, 1)
    root.drain()
    await finish(task)
    assert {state.state for state in root.children_state().values()} == {State.STOPPED}


async def test_services_know_their_place(world: World) -> None:
    made: list[Teller] = []

    def make() -> Teller:
        made.append(Teller(Mailbox[object](1)))
        return made[-1]

    root = world.supervisor("root", Child("in", lambda: world.supervisor("in", Child("a", make))))
    task = await world.up(root)
    assert made[0].path == "root/in/a"
    root.drain()
    await finish(task)


def test_two_children_of_one_name_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="different names"):
        world.supervisor("root", teller("a"), teller("a"))


async def test_observer_that_raises_is_reported_and_does_not_hurt_the_tree(world: World) -> None:
    reported: list[str] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))

    def observe(_: object) -> None:
        raise RuntimeError("blind")

    box, told = Mailbox[object](9), list[tuple[object, int]]()
    root = Supervisor("root", [teller("a", box, told)], clock=world.clock, observe=observe)
    task = await world.up(root)
    box.send_nowait(ValueError("boom"))
    box.send_nowait("fine")
    await world.advance(1)
    await until(lambda: told == [("fine", 1)])
    root.drain()
    await finish(task)
    loop.set_exception_handler(before)
    kinds = ["started", "crashed", "restarting", "started", "stopped"]
    assert reported == [f"observer failed on {kind} of root/a" for kind in kinds]
