"""Models as somebody may write them: functions that answer, fail, hang, or take the process down."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

from chatmesh.errors import ProviderError
from chatmesh.providers import Delta, Prompt, Resume
from chatmesh.providers.base import Usage

WORDS = 40
PAUSE_SECONDS = 0.05

HELD_TOKENS = 20
"""What `held` counts to in all; half of it before it waits."""

_gates: dict[str, asyncio.Event] = {}


def text(*, attempt: int = 1) -> str:
    """What `restarting` says in one attempt, and the others in all of them."""
    return "".join(f"{word}-{attempt} " for word in range(WORDS))


async def exact(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Goes on exactly behind what was shown."""
    whole = text()
    assert whole.startswith(resume.text)
    for word in whole[len(resume.text) :].split():
        await asyncio.sleep(PAUSE_SECONDS)
        yield f"{word} "


async def short(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says one word, at once."""
    yield "yes"


async def overlapping(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Repeats the end of what was shown, as a model does that is asked to go on."""
    whole = text()
    begin = max(0, len(resume.text) - 30)
    for at in range(begin, len(whole), 5):
        await asyncio.sleep(PAUSE_SECONDS)
        yield whole[at : at + 5]


async def restarting(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says something else in each attempt."""
    assert resume == Resume()
    for word in text(attempt=prompt.attempt).split():
        await asyncio.sleep(PAUSE_SECONDS)
        yield f"{word} "


async def raising(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Has a bug."""
    yield "half "
    raise ValueError("a bug in the model")


async def failing_once(prompt: Prompt, resume: Resume) -> AsyncIterator[str | Delta]:
    """Has a bug that passes."""
    if prompt.attempt == 1:
        yield "one "
        raise ValueError("the first time")
    yield "two"
    yield Delta("", "length")


async def beginning_anew(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Has a bug that passes, and then begins anew, slowly."""
    if prompt.attempt == 1:
        yield "one "
        raise ValueError("the first time")
    for word in text(attempt=prompt.attempt).split():
        await asyncio.sleep(PAUSE_SECONDS)
        yield f"{word} "


async def deadly(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Takes its process down."""
    yield "last words "
    await asyncio.sleep(PAUSE_SECONDS)
    os._exit(9)


async def stubborn(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Does not end when it is told to, until the message says so."""
    yield "here "
    for _ in range(1000):
        try:
            await asyncio.sleep(float(prompt.message))
            return
        except asyncio.CancelledError:
            continue


async def silent(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says one word, then nothing for very long."""
    yield "hm "
    await asyncio.Event().wait()


def gate(message: str = "go") -> asyncio.Event:
    """What `held` waits for when it answers that message, in the test's own loop."""
    _gates[message] = asyncio.Event()
    return _gates[message]


async def held(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Counts half of the way, and on once its gate is open: in between is in mid-answer, however slow the machine is."""
    for number in range(1, HELD_TOKENS + 1):
        if number > HELD_TOKENS / 2:
            await _gates[prompt.message].wait()
        yield f"{number} "


async def wrong(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Yields what is no text."""
    yield "a "
    yield 17  # type: ignore[misc]


async def no_generator(prompt: Prompt, resume: Resume) -> str:
    return "all at once"


def models(*names: str, continuation: str | None = None) -> str:
    """The setting that makes models of these functions."""
    more = f", continuation: {continuation}" if continuation else ""
    entries = [f"{name}: {{provider: python, function: '{__name__}:{name}'{more}}}" for name in names]
    return f"models={{{', '.join(entries)}}}"


async def remembering(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says what it was told before, as JSON."""
    yield json.dumps([[message["role"], message["content"]] for message in prompt.history])


async def telling(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says all that it was told, as JSON."""
    told = {"message": prompt.message, "history": prompt.history, "context": prompt.context}
    yield json.dumps(told | {"user_id": prompt.user_id})


async def calling(prompt: Prompt, resume: Resume) -> AsyncIterator[str | Delta]:
    """Calls the first tool that it was given, in fragments as models do."""
    name = prompt.context["tools"][0]["function"]["name"]
    yield Delta(data={"type": "reasoning", "text": "hm"})
    yield Delta(data={"type": "tool_call", "index": 0, "id": "call_1", "name": name, "arguments": ""})
    for fragment in ('{"city":', ' "Graz"}'):
        yield Delta(data={"type": "tool_call", "index": 0, "arguments": fragment})
    yield Delta("", "tool_calls", usage=Usage(7, 5))


async def refusing(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says a word, and then can't."""
    yield "well "
    raise ProviderError("the model is out of order", code="provider_down")


def calls() -> list[tuple[str, str]]:
    """Name and arguments of what `calling` wants to be called."""
    return [("weather", '{"city": "Bern"}'), ("time", "{}")]


async def calling_two(prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
    """Wants tools to be called, in fragments as OpenAI streams them."""
    for index, (name, arguments) in enumerate(calls()):
        yield Delta(data={"type": "tool_call", "index": index, "id": f"call_{index}", "name": name})
        for at in range(0, len(arguments), 5):
            yield Delta(data={"type": "tool_call", "index": index, "arguments": arguments[at : at + 5]})
    yield Delta("", "tool_calls")


told = asyncio.Event()
"""For `when_told`; a test that uses it sets one of its own here."""


async def when_told(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Thinks until the test has made up its mind."""
    await told.wait()
    yield "yes"


async def slow_to_close(prompt: Prompt, resume: Resume) -> AsyncIterator[str | Delta]:
    """Has said everything, and holds on to its connection until the test has made up its mind."""
    yield "yes"
    try:
        yield Delta("", "stop")
    finally:
        await told.wait()
