"""Several waits as one: a failure is itself and never a group, and nothing goes on behind one's back."""

from __future__ import annotations

import asyncio

import pytest

from chatmesh.kernel.together import together
from tests.units.virtual import pass_time, timeless, turns


class Watched:
    """A wait of so many seconds that ends with a value or a failure; says how it went."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def wait(self, seconds: float, result: object) -> object:
        try:
            await pass_time(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(str(result))
            raise
        if isinstance(result, BaseException):
            raise result
        return result


@timeless
async def test_results_come_in_the_order_of_the_arguments() -> None:
    watched = Watched()
    assert await together(watched.wait(3, "a"), watched.wait(1, "b"), watched.wait(2, "c")) == ("a", "b", "c")


@timeless
async def test_the_waits_are_side_by_side() -> None:
    watched = Watched()
    await together(watched.wait(3, "a"), watched.wait(3, "b"))
    assert asyncio.get_running_loop().time() == pytest.approx(3)


@timeless
async def test_a_failure_is_raised_as_itself_and_cancels_the_others() -> None:
    watched = Watched()
    failure = KeyError("lost")
    with pytest.raises(KeyError) as caught:
        await together(watched.wait(9, "a"), watched.wait(1, failure), watched.wait(9, "c"))
    assert caught.value is failure
    assert sorted(watched.cancelled) == ["a", "c"]
    assert asyncio.get_running_loop().time() == pytest.approx(1)


@timeless
async def test_of_several_failures_one_is_raised_and_no_group() -> None:
    watched = Watched()
    with pytest.raises(KeyError):
        await together(watched.wait(1, KeyError("one")), watched.wait(1, ValueError("other")))


@timeless
async def test_who_waits_is_back_only_when_the_others_are_gone() -> None:
    ended: list[str] = []

    async def slow_to_end() -> None:
        try:
            await pass_time(9)
        finally:
            await pass_time(1)
            ended.append("gone")

    with pytest.raises(KeyError):
        await together(slow_to_end(), Watched().wait(0.5, KeyError()))
    assert ended == ["gone"]


@timeless
async def test_a_cancel_from_outside_cancels_all_and_goes_on() -> None:
    watched = Watched()
    task = asyncio.create_task(together(watched.wait(9, "a"), watched.wait(9, "b")))
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(watched.cancelled) == ["a", "b"]


@timeless
async def test_a_cancel_that_comes_with_a_failure_is_not_lost() -> None:
    async def fails() -> None:
        task.cancel()
        raise KeyError("at the same moment")

    task = asyncio.create_task(together(Watched().wait(9, "a"), fails()))
    await asyncio.wait({task})
    assert task.cancelled()


@timeless
async def test_while_a_cancelled_task_cleans_up_a_failure_is_still_a_failure() -> None:
    seen: list[BaseException] = []

    async def work() -> None:
        try:
            await pass_time(9)
        finally:
            try:
                await together(Watched().wait(1, "a"), Watched().wait(1, KeyError("cleaning up")))
            except KeyError as error:
                seen.append(error)

    task = asyncio.create_task(work())
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(seen) == 1


@timeless
async def test_a_deadline_around_it_is_a_timeout_and_no_cancel() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await together(Watched().wait(9, "a"), Watched().wait(9, "b"))


@timeless
async def test_a_failure_leaves_no_trace_of_a_cancel_on_who_waited() -> None:
    """Python 3.11 and 3.12: a TaskGroup would. Whoever asks `cancelling()` later would take it for a cancel."""
    with pytest.raises(KeyError):
        await together(Watched().wait(9, "a"), Watched().wait(1, KeyError()))
    caller = asyncio.current_task()
    assert caller is not None
    assert caller.cancelling() == 0


@timeless
async def test_a_second_cancel_leaves_nobody_behind() -> None:
    ended: list[str] = []

    async def slow_to_end() -> None:
        try:
            await pass_time(9)
        finally:
            await pass_time(1)
            ended.append("gone")

    task = asyncio.create_task(together(slow_to_end(), slow_to_end()))
    await turns(3)
    for _ in range(2):
        task.cancel()
        await turns(3)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["gone", "gone"]


@timeless
async def test_one_that_fails_before_the_others_began_leaves_none_unawaited() -> None:
    async def fails() -> None:
        raise KeyError("at once")

    watched = Watched()
    with pytest.raises(KeyError):
        await together(fails(), watched.wait(9, "a"), watched.wait(9, "b"))
    assert asyncio.get_running_loop().time() == 0.0
