"""Every kernel test leaves nothing behind, not even for one more turn of the loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.kernel.world import World


@pytest.fixture(autouse=True)
async def no_task_outlives_the_test() -> AsyncIterator[None]:
    """Stricter than the fixture of all tests: no grace, since a supervisor promises that none outlives its `run`."""
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    names = [task.get_name() for task in left]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    gc.collect()  # an exception that nobody looked at is reported when its task goes
    assert not names, f"tasks outlived the test: {names}"
    assert not lost, f"exceptions reached the loop's handler: {lost}"


@pytest.fixture
def world() -> World:
    return World()
