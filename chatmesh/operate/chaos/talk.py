"""One session of a run: somebody who says something again and again, and somebody who reads the answers.

Both know HTTP only. The speaker asks `count` for so many tokens; now and then it does not wait for the answer, and now
and then it takes the first answer to its POST for the last one, as an impatient program would.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

import orjson

from chatmesh.client import Client, Event, Fate
from chatmesh.errors import ProtocolError, RefusedError
from chatmesh.operate.chaos.check import Finding, Kind, Posted, Watch
from chatmesh.operate.chaos.recovery import WORTH_NOTING_SECONDS, Silence

TOKENS = (15, 40)
TOKENS_PER_SECOND = (20.0, 60.0)
PAUSE_SECONDS = (0.0, 0.5)

IMPATIENT = 0.15
"""Of the messages are not waited for: the next one queues up behind them."""

ONCE = 0.3
"""Of the messages are sent once only, whatever comes of it: what was refused must be absent then."""

MARK = "chaos-says"
"""Stands in every message, and so in no log."""


class Talk:
    """`listen` and `speak` are two tasks' work. What they saw is in `watch`, `posted` and `silences`."""

    def __init__(self, client: Client, session_id: str, seed: int, clock: Callable[[], float]) -> None:
        self.session_id = session_id
        self.posted: list[Posted] = []
        self.silences: list[Silence] = []
        self.tokens: dict[str, int] = {}
        self.watch = Watch(session_id, self.tokens, "live reader")
        self.failures: list[Finding] = []
        self._client = client
        self._random = Random(seed)  # noqa: S311 - to be repeatable is what it is for
        self._clock = clock
        self._reader = client.read(session_id, from_start=True)
        self._unanswered: set[str] = set()
        self._quiet_since: float | None = None
        self._moved = asyncio.Event()

    @property
    def is_answered(self) -> bool:
        """Every accepted message has ended, and none has ended in the midst."""
        return not self._unanswered and self.watch.is_between

    @property
    def accepted(self) -> list[str]:
        """The messages that have to be answered."""
        return [posted.message_id for posted in self.posted if posted.fate is Fate.ACCEPTED]

    @property
    def connects(self) -> int:
        return self._reader.connects

    def cut(self) -> None:
        """The reader's connection breaks."""
        self._reader.cut()

    async def listen(self) -> None:
        """For ever, over any number of connections. A reader that a pod sends away has seen its last chunk."""
        try:
            async with self._reader as events:
                async for event in events:
                    chunk = see(self.watch, event)
                    if chunk is not None:
                        self._on_chunk(str(chunk.get("message_id")), is_final=chunk.get("is_final") is True)
        except (ProtocolError, RefusedError) as error:
            self.failures.append(
                Finding(Kind.LOST, self.session_id, "", f"can't read on: {error}", "live reader")
            )

    async def speak(self, stop: asyncio.Event) -> None:
        """One message after the other until `stop`."""
        while not stop.is_set():
            posted = await self._post()
            if posted.fate is Fate.ACCEPTED and self._random.random() >= IMPATIENT:
                await self._wait_answered(posted.message_id, stop)
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))

    def close(self) -> None:
        """All is over: who still waits has waited until now, and in vain."""
        self._note_silence(self._clock())
        if not self.is_answered:
            reader = self._reader
            detail = f"still waits for {', '.join(sorted(self._unanswered)) or 'the rest'} at {reader.pod}, behind "
            detail += f"{reader.position or 'nothing'}, on its connection {reader.connects}"
            self.failures.append(Finding(Kind.LOST, self.session_id, "", detail, "live reader"))

    async def _post(self) -> Posted:
        message_id = f"m{len(self.posted) + 1}"
        tokens = self._random.randint(*TOKENS)
        context = {
            "model": "count",
            "max_tokens": tokens,
            "tokens_per_second": self._random.uniform(*TOKENS_PER_SECOND),
        }
        self.tokens[message_id] = tokens
        once = self._random.random() < ONCE
        sent = await self._client.send(
            self.session_id,
            message_id,
            f"{MARK} {self.session_id} {message_id}",
            context=context,
            max_tries=1 if once else math.inf,
        )
        posted = Posted(message_id, tokens, sent.fate)
        self.posted.append(posted)
        if sent.fate is Fate.REFUSED and sent.status not in (0, 429, 503):
            detail = f"refused with {sent.status}: {sent.reason}"
            self.failures.append(Finding(Kind.NOT_ACCEPTED, self.session_id, message_id, detail, "sender"))
        if sent.fate is Fate.ACCEPTED and not self.watch.has_ended(message_id):
            self._unanswered.add(message_id)
            self._quiet_since = self._clock() if self._quiet_since is None else self._quiet_since
        return posted

    async def _wait_answered(self, message_id: str, stop: asyncio.Event) -> None:
        while message_id in self._unanswered and not stop.is_set():
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # for `stop`, which nobody tells us of
                    await self._moved.wait()

    # --- the reader's side -----------------------------------------------------------------------------------------

    def _on_chunk(self, message_id: str, *, is_final: bool) -> None:
        now = self._clock()
        self._note_silence(now)
        if is_final:
            self._unanswered.discard(message_id)
            self._moved.set()
        self._quiet_since = now if self._unanswered else None

    def _note_silence(self, now: float) -> None:
        if self._quiet_since is not None and now - self._quiet_since >= WORTH_NOTING_SECONDS:
            self.silences.append(Silence(self.session_id, self._quiet_since, now))


def see(watch: Watch, event: Event) -> Mapping[str, Any] | None:
    """Shows a reader's event to its watch. Returns the chunk, if it is one. Raises ProtocolError where it is nothing that
    a pod may send."""
    try:
        body = orjson.loads(event.data)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"an event is no JSON: {error}") from error
    if not isinstance(body, dict) or event.name not in ("message", "reset"):
        raise ProtocolError(f"an event {event.name!r} of {type(body).__name__}")
    if event.name == "reset":
        watch.on_reset(body)
        return None
    watch.on_chunk(event.id, body)
    return body


async def replay(client: Client, talk: Talk, *, seconds: float) -> Watch:
    """The session once more, from its start and by a reader who was never there: it has to be the same. Ends when
    everything has come that was accepted or that the live reader saw the end of, or after `seconds`."""
    wanted = {*talk.accepted, *talk.watch.ended}
    watch = Watch(talk.session_id, talk.tokens, "replay")
    try:
        async with asyncio.timeout(seconds), client.read(talk.session_id, from_start=True) as events:
            while not wanted.issubset(watch.ended):
                see(watch, await anext(events))
    except (ProtocolError, RefusedError) as error:
        watch.findings.append(Finding(Kind.LOST, talk.session_id, "", f"can't be read: {error}", "replay"))
    except TimeoutError:
        pass  # what is missing is found missing
    return watch
