"""Models whose answers are worth to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from chatmesh.providers import Delta, Prompt, Resume

CODE = [f"line_{number:02} = {number}" for number in range(60)]
"""More than a screen."""

PAGE = "\n".join(
    [
        "# A title",
        "",
        "Some **bold** words, and `code`.",
        "",
        "```python",
        *CODE,
        "```",
        "",
        "| left | right |",
        "|------|-------|",
        "| one | two |",
        "",
        "- first",
        "- second",
        "",
        "The end, with a \x1b[31mcolour\x1b[0m of its own.",
    ]
)


async def page(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Markdown, cut wherever it happens."""
    for at in range(0, len(PAGE), 7):
        await asyncio.sleep(0.002)
        yield PAGE[at : at + 7]


async def thinking(prompt: Prompt, resume: Resume) -> AsyncIterator[str | Delta]:
    """Thinks, says something, and calls a tool in fragments."""
    for word in ("let ", "me ", "see"):
        yield Delta(data={"type": "reasoning", "text": word})
    yield "I look."
    yield Delta(data={"type": "tool_call", "index": 0, "id": "c1", "name": "weather", "arguments": ""})
    for fragment in ('{"city":', ' "Graz"}'):
        yield Delta(data={"type": "tool_call", "index": 0, "arguments": fragment})
    yield Delta("", "tool_calls")


MODELS = ", ".join(
    f"{name}: {{provider: python, function: '{__name__}:{name}'}}" for name in ("page", "thinking")
)
SETTING = f"models={{{MODELS}}}"
