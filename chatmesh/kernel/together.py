"""Several waits side by side, as one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
async def together(a: Coroutine[Any, Any, A], b: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...
@overload
async def together(
    a: Coroutine[Any, Any, A], b: Coroutine[Any, Any, B], c: Coroutine[Any, Any, C], /
) -> tuple[A, B, C]: ...
@overload
async def together(
    a: Coroutine[Any, Any, A],
    b: Coroutine[Any, Any, B],
    c: Coroutine[Any, Any, C],
    d: Coroutine[Any, Any, D],
    /,
) -> tuple[A, B, C, D]: ...
@overload
async def together(*coroutines: Coroutine[Any, Any, A]) -> tuple[A, ...]: ...
async def together(*coroutines: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Results in the order of the arguments. The first failure cancels the others, waits for them, and is raised as
    itself: `gather` would leave them running, a TaskGroup would raise a group of one. Nor does a TaskGroup do inside:
    in Python 3.11 and 3.12 one whose child fails leaves its caller's count of cancels raised, and then nobody can tell
    that from a cancel from outside (cpython#116720)."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    cancel: asyncio.CancelledError | None = None
    failure: BaseException | None = None
    until = asyncio.FIRST_EXCEPTION
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks, return_when=until)
        except asyncio.CancelledError as error:
            cancel = error
        failure = failure or _failure(tasks)
        if until != asyncio.ALL_COMPLETED:
            until = asyncio.ALL_COMPLETED
            for task in tasks:
                task.cancel()
    _failure(tasks)
    end = cancel or failure
    if end is not None:
        raise end
    return tuple(task.result() for task in tasks)


def _failure(tasks: list[asyncio.Task[Any]]) -> BaseException | None:
    """The first of the failures so far. Looks at all of them, so that none is reported as never retrieved."""
    errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    return next((error for error in errors if error is not None), None)
