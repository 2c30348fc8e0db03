"""The built-in models: no key, no network, and the same request always gives the same chunks.

That is what makes them more than a toy: an answer that another worker continues can be checked byte by byte. Each
chunk is one token; a continuation skips what was shown.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator

from chatmesh.providers.base import Continuation, Delta, Prompt, Resume

DEMO_TOKENS_PER_SECOND = 25.0
"""A readable pace: about as fast as people read."""

COUNT_DEFAULT = 100

_WORD = re.compile(r"\S+\s*|\s+")


class Demo:
    """`demo`, `echo` and `count`. `tokens_per_second` paces echo and count; 0 is unlimited."""

    models = ("demo", "echo", "count")
    continuation = Continuation.EXACT
    reads_history = False

    def __init__(self, tokens_per_second: float = 0.0) -> None:
        self._tokens_per_second = tokens_per_second

    async def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
        limit = _positive(prompt.context.get("max_tokens"))
        tokens, is_cut = _tokens(prompt, limit)
        pace = self._pace(prompt)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        if resume.text:
            tokens = _behind(tokens, len(resume.text))
        for number, token in enumerate(tokens):
            # Against the clock and not from token to token, so that a busy loop does not slow the rate down.
            if pace and (wait := begin + number / pace - loop.time()) > 0:
                await asyncio.sleep(wait)
            yield Delta(token)
        yield Delta("", "length" if is_cut else "stop")

    async def aclose(self) -> None:
        """Nothing is open."""

    def _pace(self, prompt: Prompt) -> float:
        if prompt.model == "demo":
            return DEMO_TOKENS_PER_SECOND
        asked = prompt.context.get("tokens_per_second")
        is_number = isinstance(asked, int | float) and not isinstance(asked, bool) and asked >= 0
        return float(asked) if is_number and asked is not None else self._tokens_per_second


def _tokens(prompt: Prompt, limit: int | None) -> tuple[Iterator[str], bool]:
    """The answer's tokens, and whether `limit` cut it short."""
    if prompt.model == "count":
        return (f"{number} " for number in range(1, (limit or COUNT_DEFAULT) + 1)), False
    text = prompt.message if prompt.model == "echo" else _introduction(prompt.message)
    words = _WORD.findall(text)
    is_cut = limit is not None and limit < len(words)
    return iter(words[:limit] if is_cut else words), is_cut


def _behind(tokens: Iterable[str], told: int) -> Iterator[str]:
    """The tokens behind so many characters. Not behind so many chunks: a long word is several, and an earlier attempt
    may have ended inside it."""
    for token in tokens:
        if told < len(token):
            yield token[told:]
        told = max(0, told - len(token))


def _introduction(message: str) -> str:
    return (
        "I am the demo model of chatmesh: no key, no network, the same answer every time. "
        "Your message was made durable before you got an answer, and every token of this one is stored before it is "
        "shown, so you may close this page, kill the worker or restart the broker: it goes on at the exact word. "
        f"You wrote: {message}"
    )


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
