"""Answers by a Python function: an async generator that gets a prompt and what was already said, and yields text.

    async def answer(prompt: Prompt, resume: Resume) -> AsyncIterator[str | Delta]: ...

It ends with `stop` unless it yields a Delta with another `finish_reason`. A stop closes it where it waits (GeneratorExit
or CancelledError). What it raises: a ProviderError is the answer's end, with its code; anything else is a crash of this
attempt, which is tried again.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from importlib import import_module
from pathlib import Path
from typing import cast

from chatmesh.errors import ConfigError, ProviderError
from chatmesh.providers.base import Continuation, Delta, Prompt, Resume

Function = Callable[[Prompt, Resume], AsyncGenerator[str | Delta, None]]


class Python:
    """One function. `continuation`: what it does with what was already said."""

    reads_history = True

    def __init__(self, function: Function, continuation: Continuation) -> None:
        self._function = function
        self.continuation = continuation

    async def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
        async with aclosing(self._function(prompt, resume)) as said:
            async for piece in said:
                delta = piece if isinstance(piece, Delta) else Delta(_text(piece))
                yield delta
                if delta.finish_reason is not None:
                    return
        yield Delta("", "stop")

    async def aclose(self) -> None:
        """Nothing of ours is open: what a module opened is its own."""


def load_function(name: str, *, where: str) -> Function:
    """The function `module:function`. Raises ConfigError where it can't be imported or is no async generator."""
    module_name, _, function_name = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        # Behind everything that is installed: a file of the project shadows nothing.
        sys.path.append(folder)
    try:
        function = getattr(import_module(module_name), function_name)
    except Exception as error:  # whatever the module does when it is imported
        raise ConfigError(
            f"{name} can't be imported ({error!r})",
            where=where,
            mend="Expected module:function; the module must be installed, on PYTHONPATH or in the working directory.",
        ) from error
    if not inspect.isasyncgenfunction(function):
        raise ConfigError(
            f"{name} is no async generator function",
            where=where,
            mend="Expected `async def answer(prompt, resume)` with a `yield` in it.",
        )
    return cast("Function", function)


def _text(piece: object) -> str:
    if isinstance(piece, str):
        return piece
    raise ProviderError(
        f"expected text or a Delta from the model's function, got {type(piece).__name__}",
        code="provider_invalid",
    )
