"""The turn protocol: from a delivery to an acknowledged answer.

    head of the session's queue? → last claim, last record, stop → (holder alive?) → claim → read what is told →
    generate into a fenced lane → final record stored → ack

Whoever dies where: before the claim nothing happened; after it the request is delivered again and the next turn goes on
behind the last stored record; after the final record only the ack is missing, and the next turn gives it. A worker that
lost its claim without noticing can't store another record (FencedError), so it can't show one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum

from chatmesh.broker import Broker, Delivery
from chatmesh.errors import ChatmeshError, FencedError, ProviderError
from chatmesh.kernel.together import together
from chatmesh.protocol import headers, trace
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import Record, asked
from chatmesh.providers import Catalogue, Prompt, Resume
from chatmesh.telemetry import get_logger, metrics
from chatmesh.workflow.claims import CLAIM_SECONDS, READ_SECONDS, Claimed, Claims
from chatmesh.workflow.erasing import Eraser
from chatmesh.workflow.generation import generate
from chatmesh.workflow.plan import Begin, Continue, Finish, Gone, Park, Plan, Recount, place, plan
from chatmesh.workflow.ports import LanePort, LanesPort, RoutesPort
from chatmesh.workflow.running import Generations, Running

log = get_logger("workflow")

ACK_SECONDS = 10.0

BUSY_SECONDS = 1.0
"""When a redelivered request's holder is alive and still at it: look again after so long."""


class Outcome(Enum):
    """How a turn ended, for the desk. PARKED and BUSY will be tried again here; after LOST (another worker has it) and
    FAILED the delivery is let go without an ack, and comes back if it has to."""

    DONE = "done"
    PARKED = "parked"
    BUSY = "busy"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class _Task:
    """One delivery with all that its turn needs to know of it."""

    delivery: Delivery
    request: WorkflowRequest
    is_foreign: bool
    traceparent: str


class Turns:
    """Takes turns. Stateless between them, but for `generations`: what is under way here."""

    def __init__(
        self,
        claims: Claims,
        broker: Broker,
        catalogue: Catalogue,
        lanes: LanesPort,
        routes: RoutesPort,
        generations: Generations,
        *,
        max_attempts: int,
    ) -> None:
        self._claims = claims
        self._eraser = Eraser(claims, broker, routes)
        self._broker = broker
        self._catalogue = catalogue
        self._lanes = lanes
        self._routes = routes
        self._generations = generations
        self._max_attempts = max_attempts

    async def take(self, delivery: Delivery, request: WorkflowRequest) -> Outcome:
        """One try to answer. Errors of the broker end it without an ack: the request comes back."""
        traceparent = trace.of_request(
            delivery.headers, delivery.body, request.session_id, request.message_id
        )
        task = _Task(delivery, request, headers.WIRE not in delivery.headers, traceparent)
        began = time.monotonic()
        self._routes.open(request.session_id)
        try:
            outcome = await self._take(task)
        except FencedError:
            outcome = Outcome.LOST
        except ChatmeshError as error:
            metrics.errors.labels("workflow", "turn").inc()
            log.error("workflow.turn_failed", **_keys(request), error=str(error))
            outcome = Outcome.FAILED
        finally:
            self._routes.close(request.session_id)
        if outcome not in (Outcome.PARKED, Outcome.BUSY):
            _tell(task, outcome, began)
        return outcome

    async def _take(self, task: _Task) -> Outcome:
        request = task.request
        # Side by side: in sequence these reads would cost the first token 0.7 ms.
        head, state, _ = await together(
            self._broker.queue.head(request.session_id, seconds=READ_SECONDS),
            self._broker.transcript.state(request.session_id, request.message_id, seconds=READ_SECONDS),
            self._routes.learn(request.session_id),
        )
        match place(head, task.delivery.seq):
            case Park():
                return Outcome.PARKED
            case Gone():
                return Outcome.LOST
        if state.erasure is not None and task.delivery.seq < state.erasure.queue_seq:
            # Accepted before the session was erased: nobody waits for it any more.
            return await self._ack(task)
        if headers.ERASE in task.delivery.headers:
            is_erased = await self._eraser.erase(task.delivery, request, state)
            return await self._ack(task) if is_erased else Outcome.BUSY
        previous: Record | None = None
        if state.claim is not None and state.claim.claim.message_id != request.message_id:
            previous = await self._broker.transcript.last_record(
                request.session_id, state.claim.claim.message_id, seconds=READ_SECONDS
            )
        decided = plan(request.message_id, state.claim, state.record, previous)
        if isinstance(decided, Finish):
            return await self._finish(task, decided.record)
        claimed = await self._claim(task, decided)
        if claimed is None:
            return Outcome.BUSY
        if claimed.told.final is not None:
            return await self._finish(task, claimed.told.final)
        await self._answer(task, claimed, is_stopped=state.is_stopped)
        return await self._ack(task)

    async def _claim(self, task: _Task, decided: Plan) -> Claimed | None:
        """None: another worker is at it, or was faster."""
        request = task.request
        match decided:
            case Begin(after=after, offset=offset):
                return await self._claims.begin(request, after, offset)
            case Continue(held):
                is_here = self._generations.holds(request.session_id, request.message_id)
                if await self._claims.is_held(held, is_held_here=is_here):
                    return None
                return await self._claims.go_on(request, held)
            case Recount(held):
                return await self._claims.recount(request, held)
        return None

    # --- the answer ------------------------------------------------------------------------------------------------

    async def _answer(self, task: _Task, claimed: Claimed, *, is_stopped: bool) -> None:
        """Generates into a lane until its final record is stored and sent."""
        request = task.request
        lane, encoder = self._open(task, claimed)
        running = Running(request.session_id, request.message_id, lane)
        running.is_stopped = is_stopped
        metrics.generations_active.inc()
        try:
            with self._generations.hold(running):
                if claimed.attempt > self._max_attempts:
                    await self._give_up(task, claimed, lane, encoder)
                else:
                    await self._generate(task, claimed, running, encoder)
                await lane.wait_stored()
        finally:
            lane.close()
            metrics.generations_active.dec()

    def _open(self, task: _Task, claimed: Claimed) -> tuple[LanePort, ChunkEncoder]:
        request = task.request
        max_payload = self._broker.connection.max_payload
        lane = self._lanes.open(
            request.session_id,
            request.message_id,
            token=claimed.token,
            attempt=claimed.attempt,
            offset=claimed.told.offset,
            request=asked(request) if claimed.told.records == 0 else None,
            is_foreign=task.is_foreign,
            traceparent=task.traceparent,
            max_bytes=max_payload,
        )
        encoder = ChunkEncoder(
            request.session_id,
            request.message_id,
            request.correlation_id,
            model=request.model or self._catalogue.default,
            attempt=claimed.attempt,
            next_id=claimed.told.next_chunk_id,
            tokens=claimed.told.content_chunks,
            # A character is at most six bytes as JSON; two such chunks still fit a message.
            max_text=max_payload // 16,
        )
        return lane, encoder

    async def _generate(self, task: _Task, claimed: Claimed, running: Running, encoder: ChunkEncoder) -> None:
        request = task.request
        try:
            model, provider = self._catalogue.resolve(request.model)
        except ProviderError as error:
            running.lane.write_final(encoder.failure(error.code, error.what, time.time()))
            return
        prompt = Prompt(model, request.message, request.context)
        resume = Resume(claimed.told.text, claimed.told.content_chunks)
        # A task of its own, so that a stop reaches a provider that is silent.
        work = asyncio.create_task(generate(provider, prompt, resume, running.lane, encoder))
        if await running.work(work) is None:
            running.lane.write_final(encoder.final("cancelled", time.time()))

    async def _give_up(self, task: _Task, claimed: Claimed, lane: LanePort, encoder: ChunkEncoder) -> None:
        """Too many attempts died on this message: it becomes a dead letter, and its reader gets an end."""
        reason = f"{self._max_attempts} attempts to answer this message ended without a result"
        delivery = task.delivery
        await self._broker.queue.bury(
            task.request.session_id, delivery.seq, delivery.body, reason, seconds=CLAIM_SECONDS
        )
        metrics.dead_letters.labels("attempts").inc()
        log.error("workflow.dead_letter", **_keys(task.request), reason=reason, attempt=claimed.attempt)
        lane.write_final(encoder.failure("attempts_exhausted", reason, time.time()))

    async def _finish(self, task: _Task, final: Record) -> Outcome:
        """The final record is stored already, and only its ack was lost. Readers may have missed it too."""
        await self._routes.announce(final, task.traceparent, is_foreign=task.is_foreign)
        return await self._ack(task)

    async def _ack(self, task: _Task) -> Outcome:
        """Only ever after the final record is stored: a lease is no ownership."""
        if await task.delivery.ack(seconds=ACK_SECONDS):
            return Outcome.DONE
        log.warning("workflow.ack_unconfirmed", subject=task.delivery.subject, seq=task.delivery.seq)
        return Outcome.LOST


def _tell(task: _Task, outcome: Outcome, began: float) -> None:
    """The one line of a generation."""
    metrics.generations.labels(outcome.value).inc()
    log.info(
        "workflow.turn",
        **_keys(task.request),
        trace_id=trace.trace_id(task.traceparent),
        subject=task.delivery.subject,
        outcome=outcome.value,
        deliveries=task.delivery.deliveries,
        queued_ms=round((time.time() - task.delivery.stored_at) * 1000),
        latency_ms=round((time.monotonic() - began) * 1000),
    )


def _keys(request: WorkflowRequest) -> dict[str, str]:
    return {
        "session_id": request.session_id,
        "message_id": request.message_id,
        "correlation_id": request.correlation_id,
    }
