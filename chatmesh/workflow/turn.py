"""The turn protocol: from a delivery to an acknowledged answer.

    head of the session's queue? → last claim, last record → (holder alive?) → claim → read what is told → generate into
    a fenced lane → final record stored → ack

Whoever dies where: before the claim nothing happened; after it the request is delivered again and the next turn goes on
behind the last stored record; after the final record only the ack is missing, and the next turn gives it. A worker that
lost its claim without noticing can't store another record (FencedError), so it can't show one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from chatmesh.broker import Broker, Delivery, HeldClaim
from chatmesh.errors import ChatmeshError, FencedError, ProtocolError, ProviderError
from chatmesh.kernel.together import together
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.messages import HealthResponse, WorkflowRequest
from chatmesh.protocol.records import Claim, Record, asked
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token
from chatmesh.providers import Catalogue, Prompt, Resume
from chatmesh.telemetry import get_logger, metrics
from chatmesh.workflow.generation import generate
from chatmesh.workflow.plan import Begin, Continue, Finish, Gone, Park, Recount, Told, place, plan, told
from chatmesh.workflow.ports import LanesPort, RoutesPort

log = get_logger("workflow")

READ_SECONDS = 10.0
"""For reads before the claim: nothing is lost by giving up, the request is delivered again."""

CLAIM_SECONDS = 10.0
ACK_SECONDS = 10.0
PAGE_RECORDS = 256

BUSY_SECONDS = 1.0
"""When a redelivered request's holder is alive and still at it: look again after so long."""


class Outcome(Enum):
    """How a turn ended, for the desk."""

    DONE = "done"
    PARKED = "parked"
    BUSY = "busy"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Who this worker is (`boot` names this life of it), and its bounds."""

    worker_id: Token
    boot: str
    max_attempts: int
    holder_seconds: float


@dataclass(frozen=True, slots=True)
class _Claimed:
    """Our claim, and what is told under earlier ones."""

    token: int
    attempt: int
    told: Told


class Turns:
    """Takes turns. Stateless between them; `holds` says what is under way here."""

    def __init__(
        self,
        settings: TurnSettings,
        broker: Broker,
        catalogue: Catalogue,
        lanes: LanesPort,
        routes: RoutesPort,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._catalogue = catalogue
        self._lanes = lanes
        self._routes = routes
        self._generating: set[tuple[Token, Token]] = set()

    def holds(self, session_id: str, message_id: str) -> bool:
        """Whether this worker is answering that message now."""
        return (session_id, message_id) in self._generating

    @property
    def active(self) -> int:
        return len(self._generating)

    async def take(self, delivery: Delivery, request: WorkflowRequest) -> Outcome:
        """One try to answer. Errors of the broker end it without an ack: the request comes back."""
        is_foreign = headers.WIRE not in delivery.headers
        began = time.monotonic()
        session_id = request.session_id
        self._routes.open(session_id)
        try:
            outcome = await self._take(delivery, request, is_foreign)
        except FencedError:
            outcome = Outcome.LOST
        except ChatmeshError as error:
            metrics.errors.labels("workflow", "turn").inc()
            log.error("workflow.turn_failed", **_keys(request), error=str(error))
            outcome = Outcome.FAILED
        finally:
            self._routes.close(session_id)
        if outcome not in (Outcome.PARKED, Outcome.BUSY):
            metrics.generations.labels(outcome.value).inc()
            log.info(
                "workflow.turn",
                **_keys(request),
                worker_id=self._settings.worker_id,
                subject=delivery.subject,
                outcome=outcome.value,
                deliveries=delivery.deliveries,
                queued_ms=round((time.time() - delivery.stored_at) * 1000),
                latency_ms=round((time.monotonic() - began) * 1000),
            )
        return outcome

    async def _take(self, delivery: Delivery, request: WorkflowRequest, is_foreign: bool) -> Outcome:
        session_id, message_id = request.session_id, request.message_id
        transcript = self._broker.transcript
        # Side by side: in sequence these reads would cost the first token 0.7 ms.
        head, state, _ = await together(
            self._broker.queue.head(session_id, seconds=READ_SECONDS),
            transcript.state(session_id, message_id, seconds=READ_SECONDS),
            self._routes.learn(session_id),
        )
        claim = state.claim
        match place(head, delivery.seq):
            case Park():
                return Outcome.PARKED
            case Gone():
                return Outcome.LOST
        previous: Record | None = None
        if claim is not None and claim.claim.message_id != message_id:
            previous = await transcript.last_record(session_id, claim.claim.message_id, seconds=READ_SECONDS)
        match plan(message_id, claim, state.record, previous):
            case Finish(record):
                await self._routes.announce(record, is_foreign=is_foreign)
                return await self._ack(delivery)
            case Begin(after=after, offset=offset):
                claimed = await self._begin(request, after, offset)
            case Continue(held):
                if await self._is_held(held):
                    return Outcome.BUSY
                claimed = await self._continue(request, held)
            case Recount(held):
                claimed = await self._recount(request, held)
        if claimed is None:
            return Outcome.BUSY
        if claimed.told.final is not None:
            await self._routes.announce(claimed.told.final, is_foreign=is_foreign)
            return await self._ack(delivery)
        self._generating.add((session_id, message_id))
        try:
            await self._answer(delivery, request, claimed, is_foreign=is_foreign)
        finally:
            self._generating.discard((session_id, message_id))
        return await self._ack(delivery)

    # --- claims ----------------------------------------------------------------------------------------------------

    async def _begin(self, request: WorkflowRequest, after: int, offset: int) -> _Claimed | None:
        claim = self._claim(request, attempt=1, base=offset, first=0, offset=offset)
        token = await self._broker.transcript.claim(claim, after=after, seconds=CLAIM_SECONDS)
        return None if token is None else _Claimed(token, 1, Told(offset=offset))

    async def _continue(self, request: WorkflowRequest, held: HeldClaim) -> _Claimed | None:
        attempt = held.claim.attempt + 1
        claim = self._claim(
            request, attempt=attempt, base=held.claim.base, first=held.first, offset=held.claim.offset
        )
        token = await self._broker.transcript.claim(claim, after=held.token, seconds=CLAIM_SECONDS)
        if token is None:
            return None
        metrics.takeovers.inc()
        # Only now: until our claim stood, its holder could still have stored another record.
        records = await self._read(request.session_id, request.message_id, held.first)
        return _Claimed(token, attempt, told(records, held.claim.base))

    async def _recount(self, request: WorkflowRequest, held: HeldClaim) -> _Claimed | None:
        """Fences the abandoned message off first, then counts its records; a second claim carries the right offset."""
        fence = self._claim(request, attempt=0, base=held.claim.offset, first=0, offset=held.claim.offset)
        token = await self._broker.transcript.claim(fence, after=held.token, seconds=CLAIM_SECONDS)
        if token is None:
            return None
        records = await self._read(request.session_id, held.claim.message_id, held.first)
        offset = records[-1].offset if records else held.claim.offset
        return await self._begin(request, token, offset)

    def _claim(self, request: WorkflowRequest, *, attempt: int, base: int, first: int, offset: int) -> Claim:
        return Claim(
            session_id=request.session_id,
            message_id=request.message_id,
            worker_id=self._settings.worker_id,
            boot=self._settings.boot,
            nonce=secrets.token_hex(8),
            attempt=attempt,
            base=base,
            first=first,
            offset=offset,
            timestamp=iso(time.time()),
        )

    async def _is_held(self, held: HeldClaim) -> bool:
        """Whether the claim's holder lives and is still at it: a broker restart or a new leader redelivers every lease
        while its owner lives, and claiming then would pay the model twice."""
        claim = held.claim
        if claim.worker_id == self._settings.worker_id and claim.boot == self._settings.boot:
            return self.holds(claim.session_id, claim.message_id)
        question = b'{"session_id":"%b","message_id":"%b"}' % (
            claim.session_id.encode(),
            claim.message_id.encode(),
        )
        reply = await self._broker.requests.request(
            subjects.worker_health(claim.worker_id), question, seconds=self._settings.holder_seconds
        )
        if reply is None:
            return False
        try:
            health = HealthResponse.decode(reply.data)
        except ProtocolError:
            return False
        return health.boot == claim.boot and health.holding is True

    async def _read(self, session_id: Token, message_id: Token, seq: int) -> list[Record]:
        records: list[Record] = []
        while True:
            page = await self._broker.transcript.page(
                session_id, message_id=message_id, seq=seq, limit=PAGE_RECORDS, seconds=READ_SECONDS
            )
            records += page.records
            seq = page.next_seq
            if not page.more:
                return records

    # --- the answer ------------------------------------------------------------------------------------------------

    async def _answer(
        self, delivery: Delivery, request: WorkflowRequest, claimed: _Claimed, *, is_foreign: bool
    ) -> None:
        """Generates into a lane until its final record is stored and sent."""
        max_payload = self._broker.connection.max_payload
        lane = self._lanes.open(
            request.session_id,
            request.message_id,
            token=claimed.token,
            attempt=claimed.attempt,
            offset=claimed.told.offset,
            request=asked(request) if claimed.told.records == 0 else None,
            is_foreign=is_foreign,
            max_bytes=max_payload,
        )
        encoder = ChunkEncoder(
            request.session_id,
            request.message_id,
            request.correlation_id,
            model=request.model or self._catalogue.default,
            attempt=claimed.attempt,
            next_id=claimed.told.next_chunk_id,
            # A character is at most six bytes as JSON; two such chunks still fit a message.
            max_text=max_payload // 16,
        )
        metrics.generations_active.inc()
        try:
            if claimed.attempt > self._settings.max_attempts:
                await self._give_up(delivery, request, claimed, lane.write, encoder)
            else:
                try:
                    model, provider = self._catalogue.resolve(request.model)
                except ProviderError as error:
                    lane.write(encoder.failure(error.code, error.what, time.time()), urgent=True)
                else:
                    prompt = Prompt(model, request.message, request.context)
                    resume = Resume(claimed.told.text, claimed.told.content_chunks)
                    await generate(provider, prompt, resume, lane, encoder)
            await lane.wait_stored()
        finally:
            lane.close()
            metrics.generations_active.dec()

    async def _give_up(
        self,
        delivery: Delivery,
        request: WorkflowRequest,
        claimed: _Claimed,
        write: Callable[..., None],
        encoder: ChunkEncoder,
    ) -> None:
        """Too many attempts died on this message: it becomes a dead letter, and its reader gets an end."""
        reason = f"{self._settings.max_attempts} attempts to answer this message ended without a result"
        await self._broker.queue.bury(
            request.session_id, delivery.seq, delivery.body, reason, seconds=CLAIM_SECONDS
        )
        metrics.dead_letters.labels("attempts").inc()
        log.error("workflow.dead_letter", **_keys(request), reason=reason, attempt=claimed.attempt)
        write(encoder.failure("attempts_exhausted", reason, time.time()), urgent=True)

    async def _ack(self, delivery: Delivery) -> Outcome:
        """Only ever after the final record is stored: a lease is no ownership."""
        if await delivery.ack(seconds=ACK_SECONDS):
            return Outcome.DONE
        log.warning("workflow.ack_unconfirmed", subject=delivery.subject, seq=delivery.seq)
        return Outcome.LOST


def _keys(request: WorkflowRequest) -> dict[str, str]:
    return {
        "session_id": request.session_id,
        "message_id": request.message_id,
        "correlation_id": request.correlation_id,
    }
