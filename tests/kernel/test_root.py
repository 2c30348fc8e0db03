"""A tree as a process: one signal drains it, two end it, and the signals are as before when it is over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from chatmesh.kernel import (
    DrainInterrupted,
    Mailbox,
    RestartIntensityExceeded,
    StartFailed,
    Supervisor,
    real_cause,
    run_root,
)
from tests.kernel.world import (
    Scripted,
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


async def up(root: Supervisor) -> asyncio.Task[None]:
    started = asyncio.Event()
    task = asyncio.create_task(run_root(root, started=started.set))
    await until(started.is_set)
    return task


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_first_signal_drains_and_root_returns(world: World, number: signal.Signals) -> None:
    task = await up(world.supervisor("root", scripted("a", obeys)))
    os.kill(os.getpid(), number)
    await finish(task)
    assert world.seen() == ["started root/a", "signal root", "stopped root/a"]
    assert world.events[1].signal_name == number.name


async def test_second_signal_cancels_at_once(world: World) -> None:
    task = await up(world.supervisor("root", scripted("a", obeys), scripted("b", ignores_drain)))
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: world.clock.sleepers == 1)  # the deadline of b, which stands still
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(DrainInterrupted, match="SIGINT came while draining") as caught:
        await finish(task)
    assert caught.value.signal_name == "SIGINT"
    assert world.seen()[2:] == ["signal root", "signal root", "stopped root/b", "stopped root/a"]


async def test_signal_while_starting_drains(world: World) -> None:
    root = world.supervisor("root", scripted("a", obeys), scripted("stuck", never_up))
    task = asyncio.create_task(run_root(root))
    await until(lambda: "stuck" in root.children_state())
    os.kill(os.getpid(), signal.SIGTERM)
    await world.advance(5)
    await finish(task)
    assert world.seen()[-1] == "stopped root/a"


async def test_handlers_that_were_there_before_are_back(world: World) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        task = await up(root := world.supervisor("root", scripted("a", obeys)))
        root.drain()
        await finish(task)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_only_the_given_signals_are_handled(world: World) -> None:
    before = signal.getsignal(signal.SIGTERM)
    root = world.supervisor("root", scripted("a", obeys))
    task = asyncio.create_task(run_root(root, signals=[signal.SIGUSR1]))
    await world.saw("started root/a")
    assert signal.getsignal(signal.SIGTERM) is before
    os.kill(os.getpid(), signal.SIGUSR1)
    await finish(task)


async def test_what_escalates_reaches_the_caller_with_its_cause(world: World) -> None:
    box, boom = Mailbox[object](1), ValueError("boom")
    task = await up(world.supervisor("root", teller("a", box), restarts=0))
    box.send_nowait(boom)
    with pytest.raises(RestartIntensityExceeded) as caught:
        await finish(task)
    assert real_cause(caught.value) is boom
    assert real_cause(boom) is boom


async def test_failed_start_reaches_the_caller(world: World) -> None:
    async def bad(_: Scripted, __: object) -> None:
        raise OSError("port in use")

    with pytest.raises(StartFailed, match="port in use"):
        await run_root(world.supervisor("root", scripted("a", bad)))


@pytest.mark.parametrize("offset", range(6))
async def test_cancel_of_the_caller_ends_the_tree_first(world: World, offset: int) -> None:
    box = Mailbox[object](1)
    task = await up(world.supervisor("root", scripted("a", ignores_drain), teller("b", box), restarts=0))
    box.send_nowait(ValueError("boom"))
    await turns(offset)
    task.cancel()
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish(task)
    assert world.seen()[-1] == "stopped root/a"


@pytest.mark.parametrize("offset", range(16))
async def test_cancel_of_the_caller_that_comes_with_a_failure_is_not_lost(world: World, offset: int) -> None:
    box = Mailbox[object](1)
    task = await up(world.supervisor("root", scripted("a", obeys), teller("b", box), restarts=0))
    box.send_nowait(ValueError("boom"))
    await turns(offset)
    was_in_time = task.cancel()
    await until(task.done)
    assert task.cancelled() if was_in_time else isinstance(task.exception(), RestartIntensityExceeded)


PROGRAM = """
    import asyncio, sys
    from chatmesh.kernel import Child, DrainInterrupted, Service, Supervisor, SystemClock, run_root

    class Stubborn(Service):
        async def run(self, started):
            started()
            try:
                await asyncio.Event().wait()
            finally:
                print("cancelled", flush=True)

        def drain(self):
            print("draining", flush=True)

    async def main():
        child = Child("stubborn", Stubborn, drain_seconds=600)
        root = Supervisor("root", [child], clock=SystemClock(), observe=lambda event: None)
        await run_root(root, started=lambda: print("up", flush=True))

    try:
        asyncio.run(main())
    except DrainInterrupted as stop:
        print(stop.signal_name, flush=True)
        sys.exit(3)
"""


def test_second_signal_ends_a_real_process_that_will_not_drain() -> None:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "draining\n"
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert "cancelled\n" in rest
    assert rest.endswith("SIGTERM\n")
    assert process.returncode == 3
