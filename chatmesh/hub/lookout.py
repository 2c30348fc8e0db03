"""Looks now and then which answers have begun anywhere, so that a reader who waits misses none of which nothing came live.

Silence in an answer under way is noticed by the pulse, and so is a hole; an answer of which every batch was lost on its
way leaves neither. What shows it is its claim, which each answer has: one read of the claims since the last look, for
the whole pod and however many readers wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import HeldClaim, Part, Transcript
from chatmesh.errors import BrokerError
from chatmesh.hub.hub import Hub
from chatmesh.kernel import Service
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger

log = get_logger("hub")

LOOK_SECONDS = 10.0

PAUSE_LOOKS = 100
"""Between two looks, in times of what the last one took: for a page of claims that begins in an older block than the last (8 MiB) the
server counts over all sessions that it has, 0.1 s at a million."""

MOST_SECONDS = 60.0
"""A look that took long may have waited for a machine that was busy, and readers wait for the next one."""

PAGE_CLAIMS = 256
READ_SECONDS = 5.0


def pause_seconds(took: float) -> float:
    """Behind a look that took so long."""
    return max(LOOK_SECONDS, min(MOST_SECONDS, PAUSE_LOOKS * took))


class Lookout(Service):
    """Reads on from where it was, also over a crash and a broker that was away."""

    def __init__(self, hub: Hub, transcript: Transcript) -> None:
        self._hub = hub
        self._transcript = transcript
        self._draining = asyncio.Event()
        self._read_to: dict[Part, int] = {}
        self._has_looked = False
        self._early: dict[Token, HeldClaim] = {}
        """Of sessions whose readers were still reading what was before; looked at again. At most as many as channels."""

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            began, took = time.monotonic(), 0.0
            try:
                await self._look()
                took = time.monotonic() - began
            except BrokerError as error:  # how long that took says nothing of what a look costs
                log.info("hub.no_lookout", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds(took)):
                    await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()

    async def _look(self) -> None:
        early, self._early = self._early, {}
        for held in early.values():
            self._hear_of(held)
        parts = self._transcript.parts
        self._read_to = {part: seq for part, seq in self._read_to.items() if part in parts}
        for part in parts:
            await self._look_at(part)
        self._has_looked = self._has_looked or bool(parts)

    async def _look_at(self, part: Part) -> None:
        if part not in self._read_to:
            # Whoever comes from now on reads what was before by itself. A part that was added since is read from its
            # beginning: somebody may have been waiting.
            self._read_to[part] = (
                1 if self._has_looked else await self._transcript.next_claim(part, seconds=READ_SECONDS)
            )
        more = True
        while more and not self._draining.is_set():
            claims, self._read_to[part], more = await self._transcript.claims(
                part, self._read_to[part], limit=PAGE_CLAIMS, seconds=READ_SECONDS
            )
            for held in claims:
                self._hear_of(held)

    def _hear_of(self, held: HeldClaim) -> None:
        channel = self._hub.channel(held.claim.session_id)
        if channel is None or held.claim.erases or not held.claim.attempt:
            return
        if channel.live:
            channel.hear_of(held, time.monotonic())
        else:
            self._early[channel.session_id] = held
