"""Fails an async test that leaves a task running, or in which an exception reached nobody but the event loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

# Cancelled tasks need a few turns of the loop to end; a client's close() cancels its own and does not wait for all.
_TURNS = 10


@pytest.fixture
async def nothing_is_left() -> AsyncIterator[None]:
    """Torn down last, it looks at what the test and all its fixtures left behind on the loop."""
    lost: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: lost.append(context))
    try:
        yield
        left = await _still_running(before)
        gc.collect()  # a failed task reports its exception only when it is collected
    finally:
        loop.set_exception_handler(handler)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=1.0)
    assert not left, f"tasks outlived the test: {[_describe(task) for task in left]}"
    assert not lost, f"exceptions reached the loop's handler: {[_summary(context) for context in lost]}"


async def _still_running(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    left: set[asyncio.Task[Any]] = set()
    for _ in range(_TURNS):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            break
        await asyncio.sleep(0)
    return left


def _describe(task: asyncio.Task[Any]) -> str:
    return f"{task.get_name()} {task.get_coro()!r}"


def _summary(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"
