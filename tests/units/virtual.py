"""A loop whose time passes only when everybody sleeps: a test of timers is exact, and takes none."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec

P = ParamSpec("P")


class _Impatient(selectors.SelectSelector):
    """Moves the loop's time on where a real selector would wait."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "the test waits for what will never happen"
            self.loop.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        selector = _Impatient()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def timeless(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Runs an async test on a loop of its own. No task may outlive it."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        lost: list[dict[str, Any]] = []
        loop = VirtualLoop()
        loop.set_exception_handler(lambda _, context: lost.append(context))
        try:
            loop.run_until_complete(_bare(test(*args, **kwargs)))
            assert not asyncio.all_tasks(loop), "a task outlived the test"
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        assert not lost, f"exceptions reached the loop's handler: {lost}"

    return run


async def _bare(test: Awaitable[None]) -> None:
    await test


async def turns(number: int) -> None:
    """Lets everybody else run so many times. No time passes."""
    for _ in range(number):
        await asyncio.sleep(0)


async def pass_time(seconds: float) -> None:
    """Lets so much of the loop's time pass, and all that is due within it happen."""
    await asyncio.sleep(seconds)
