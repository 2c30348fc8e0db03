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

from chatmesh.broker import HeldClaim, Transcript
from chatmesh.errors import BrokerError
from chatmesh.hub.hub import Hub
from chatmesh.kernel import Service
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger

log = get_logger("hub")

LOOK_SECONDS = 10.0
PAGE_CLAIMS = 256
READ_SECONDS = 5.0


class Lookout(Service):
    """Reads on from where it was, also over a crash and a broker that was away."""

    def __init__(self, hub: Hub, transcript: Transcript) -> None:
        self._hub = hub
        self._transcript = transcript
        self._draining = asyncio.Event()
        self._epoch = ""
        self._seq = 0
        self._early: dict[Token, HeldClaim] = {}
        """Of sessions whose readers were still reading what was before; looked at again. At most as many as channels."""

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            try:
                await self._look()
            except BrokerError as error:
                log.info("hub.no_lookout", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()

    async def _look(self) -> None:
        early, self._early = self._early, {}
        for held in early.values():
            self._hear_of(held)
        if self._epoch != self._transcript.epoch:
            # Whoever comes from now on reads what was before by itself.
            self._epoch = self._transcript.epoch
            self._seq = await self._transcript.next_claim(seconds=READ_SECONDS)
        more = True
        while more and not self._draining.is_set():
            claims, self._seq, more = await self._transcript.claims(
                self._seq, limit=PAGE_CLAIMS, seconds=READ_SECONDS
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
