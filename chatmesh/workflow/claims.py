"""Claims: how a worker gets a session to itself, and learns what is told already."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatmesh.broker import Broker, HeldClaim
from chatmesh.errors import ProtocolError
from chatmesh.protocol import subjects
from chatmesh.protocol.messages import HealthResponse, WorkflowRequest
from chatmesh.protocol.records import MAX_RECENT, Claim, Record
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import metrics
from chatmesh.workflow.plan import Told, told

READ_SECONDS = 10.0
"""Of one page. Before a claim nothing is lost by giving up, after it little: the request is delivered again."""

CLAIM_SECONDS = 10.0

HAND_OVER_SECONDS = 2.0
"""Less than the process gets behind its drain deadline. Without it the next worker counts an attempt too many."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is; `boot` names this life of it."""

    worker_id: Token
    boot: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """Our claim, and what is told under earlier ones. `lost`: the one before it, of an attempt that came to no end."""

    held: HeldClaim
    told: Told
    lost: HeldClaim | None = None

    @property
    def token(self) -> int:
        """The fence of what is written under it."""
        return self.held.token

    @property
    def attempt(self) -> int:
        """Which attempt at the message this is."""
        return self.held.claim.attempt


class Claims:
    """Writes claims for one worker. Every method returns None where somebody else was faster."""

    def __init__(self, identity: Identity, broker: Broker, *, holder_seconds: float) -> None:
        self._identity = identity
        self._broker = broker
        self._holder_seconds = holder_seconds

    async def begin(self, request: WorkflowRequest, held: HeldClaim | None, offset: int) -> Claimed | None:
        """Nobody has worked on this message; the session stands at `offset`, and `held` is its last claim."""
        recent = (*held.claim.recent, held.first) if held is not None and not held.claim.erases else ()
        after = held.token if held is not None else 0
        return await self._begin(request, after, offset, recent)

    async def _begin(
        self,
        request: WorkflowRequest,
        after: int,
        offset: int,
        recent: Sequence[int],
        *,
        erases: bool = False,
    ) -> Claimed | None:
        claim = self._claim(request, 1, base=offset, first=0, offset=offset, recent=recent, erases=erases)
        token = await self._broker.transcript.claim(claim, after=after, seconds=CLAIM_SECONDS)
        return None if token is None else Claimed(HeldClaim(claim, token), Told(offset=offset))

    async def go_on(self, request: WorkflowRequest, held: HeldClaim) -> Claimed | None:
        """Somebody has begun this message and is gone. One who handed it over in good order has used up no attempt."""
        known = held.claim
        claim = self._claim(
            request,
            known.attempt + (not known.handed_over),
            base=known.base,
            first=held.first,
            offset=known.offset,
            recent=known.recent,
        )
        token = await self._broker.transcript.claim(claim, after=held.token, seconds=CLAIM_SECONDS)
        if token is None:
            return None
        metrics.takeovers.labels("handed_over" if held.claim.handed_over else "lost").inc()
        # Only now: until our claim stood, its holder could still have stored another record.
        records = await self._read(request.session_id, held.first, token)
        before = told(records, request.message_id, known.base)
        return Claimed(HeldClaim(claim, token), before, None if known.handed_over else held)

    async def recount(
        self, request: WorkflowRequest, held: HeldClaim, *, erases: bool = False
    ) -> Claimed | None:
        """Another message was abandoned, or the claim is nobody's: fences it off, counts the session's records whatever
        that claim says, and claims again with the right offset. An answer of ours that was begun before is gone on with.
        """
        stand = held.claim.offset
        fence = self._claim(request, 0, base=stand, first=0, offset=stand, recent=(), erases=erases)
        token = await self._broker.transcript.claim(fence, after=held.token, seconds=CLAIM_SECONDS)
        if token is None:
            return None
        records = await self._read(request.session_id, 1, token)
        offset = records[-1].offset if records else stand
        own = [record for record in records if record.message_id == request.message_id]
        # The first claim of each message is the token of its first record.
        first_of = {record.message_id: record.token for record in reversed(records)}
        first_of.pop(request.message_id, None)
        recent = () if erases else tuple(first_of.values())
        if not own or erases:
            return await self._begin(request, token, offset, recent, erases=erases)
        attempt, base, first = own[-1].attempt + 1, own[0].offset - 1, own[0].token
        claim = self._claim(request, attempt, base=base, first=first, offset=offset, recent=recent)
        again = await self._broker.transcript.claim(claim, after=token, seconds=CLAIM_SECONDS)
        if again is None:
            return None
        return Claimed(HeldClaim(claim, again), told(records, request.message_id, base))

    async def hand_over(self, claimed: Claimed, offset: int) -> None:
        """We leave in mid-answer, everything written is stored, and the session stands at `offset`. From here on we can't
        write any more. Somebody who was faster has taken it already, and that is as well."""
        held = claimed.held
        claim = replace(
            held.claim, nonce=_nonce(), first=held.first, offset=offset, handed_over=True, timestamp=_now()
        )
        await self._broker.transcript.claim(claim, after=held.token, seconds=HAND_OVER_SECONDS)

    async def erase(self, request: WorkflowRequest, held: HeldClaim | None) -> Claimed | None:
        """The session is to be erased: whoever is left in it can't write any more, and the offset is exact."""
        if held is None:
            return await self._begin(request, 0, 0, (), erases=True)
        return await self.recount(request, held, erases=True)

    async def is_held(self, held: HeldClaim, *, is_held_here: bool) -> bool:
        """Whether the claim's holder lives and is still at it: a broker restart or a new leader redelivers every lease
        while its owner lives, and claiming then would pay the model twice."""
        claim = held.claim
        if claim.handed_over:
            return False
        if claim.worker_id == self._identity.worker_id and claim.boot == self._identity.boot:
            return is_held_here
        question = b'{"session_id":"%b","message_id":"%b"}' % (
            claim.session_id.encode(),
            claim.message_id.encode(),
        )
        reply = await self._broker.peers.request(
            subjects.worker_health(claim.worker_id), question, seconds=self._holder_seconds
        )
        if reply is None:
            # After a broker restart the holder may come back a moment later than we: asked again, not taken for dead.
            return not self._broker.connection.is_settled
        try:
            health = HealthResponse.decode(reply.data)
        except ProtocolError:
            return False
        return health.boot == claim.boot and health.holding is True

    def _claim(
        self,
        request: WorkflowRequest,
        attempt: int,
        *,
        base: int,
        first: int,
        offset: int,
        recent: Sequence[int],
        erases: bool = False,
    ) -> Claim:
        return Claim(
            session_id=request.session_id,
            message_id=request.message_id,
            worker_id=self._identity.worker_id,
            boot=self._identity.boot,
            nonce=_nonce(),
            attempt=attempt,
            base=base,
            first=first,
            offset=offset,
            timestamp=_now(),
            erases=erases,
            recent=tuple(sorted(recent)[-MAX_RECENT:]),
        )

    async def before(self, claimed: Claimed, turns: int) -> list[Record]:
        """The session's records of at most so many messages before the claimed one (and of what was ended between
        them), oldest first."""
        recent = claimed.held.claim.recent[-turns:] if turns else ()
        if not recent:
            return []
        return await self._read(claimed.held.claim.session_id, recent[0], claimed.held.first)

    async def _read(self, session_id: Token, seq: int, token: int) -> list[Record]:
        """The session's records below our claim `token`: of its message, and of others that its holder ended meanwhile."""
        records = self._broker.transcript.records_before(session_id, token, seq=seq, seconds=READ_SECONDS)
        return [record async for record in records]


def _nonce() -> str:
    return secrets.token_hex(8)


def _now() -> str:
    return iso(time.time())
