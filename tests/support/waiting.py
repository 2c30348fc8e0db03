"""Wait until something holds, with a deadline: the one place in the tests that polls."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05


async def eventually(
    condition: Callable[[], Any],
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - the deadline is of the condition, and its message needs the last value
    message: str = "",
) -> Any:
    """Return the first true value that `condition` gives; it may be sync or async, and may assert.

    Raises AssertionError after `timeout` seconds, with the last value or the last failed assertion in its text. Any
    other exception of the condition goes through at once.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    pause, last = _FIRST_PAUSE_SECONDS, "no answer from the condition"
    while True:
        try:
            async with asyncio.timeout_at(deadline) as limit:
                value = condition()
                if inspect.isawaitable(value):
                    value = await value
            if value:
                return value
            last = f"last seen: {value!r}"
        except AssertionError as error:
            last = f"last failed: {error}"
        except TimeoutError:
            if not limit.expired():
                raise
        if loop.time() + pause > deadline:
            raise AssertionError(f"{message or 'the condition'} did not hold within {timeout:g} s; {last}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
