"""The turn protocol: from a delivery to an acknowledged answer.

    head of the session's queue? → last claim, last record, stop → (holder alive?) → claim → read what is told →
    generate into a fenced lane → final record stored → ack

    of a session that is said to be new: claim as the first one → generate, and look for a stop beside it → …

Whoever dies where: before the claim nothing happened; after it the request is delivered again and the next turn goes on
behind the last stored record; after the final record only the ack is missing, and the next turn gives it. A worker that
lost its claim without noticing can't store another record (FencedError), so it can't show one.
"""

from __future__ import annotations

import time
from enum import Enum

from chatmesh.broker import BLANK, Broker, Delivery, MessageState, Opened
from chatmesh.errors import ChatmeshError, FencedError
from chatmesh.kernel.together import together
from chatmesh.protocol import headers, trace
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import Record
from chatmesh.telemetry import get_logger, metrics
from chatmesh.telemetry.tracing import NO_TRACING, Tracing
from chatmesh.workflow.age import Age
from chatmesh.workflow.answers import Answers
from chatmesh.workflow.claims import READ_SECONDS, Claimed, Claims
from chatmesh.workflow.erasing import Eraser
from chatmesh.workflow.plan import Begin, Continue, Finish, Gone, Park, Plan, Recount, place, plan
from chatmesh.workflow.ports import RoutesPort
from chatmesh.workflow.running import End, Generations
from chatmesh.workflow.stops import StopSweep
from chatmesh.workflow.task import Task

log = get_logger("workflow")

ACK_SECONDS = 10.0

BUSY_SECONDS = 1.0
"""When a redelivered request's holder is alive and still at it: look again after so long."""


class Outcome(Enum):
    """How a turn ended, for the desk. PARKED and BUSY will be tried again here. LOST: another worker has it, so it is let
    go without a word. FAILED and HANDED_OVER are given back to the queue."""

    DONE = "done"
    PARKED = "parked"
    BUSY = "busy"
    LOST = "lost"
    FAILED = "failed"
    HANDED_OVER = "handed_over"


class Turns:
    """Takes turns. Stateless; `generations` tells what is under way here."""

    def __init__(
        self,
        claims: Claims,
        broker: Broker,
        answers: Answers,
        routes: RoutesPort,
        generations: Generations,
        stops: StopSweep,
        age: Age,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._claims = claims
        self._eraser = Eraser(claims, broker, routes)
        self._broker = broker
        self._answers = answers
        self._routes = routes
        self._generations = generations
        self._stops = stops
        self._age = age
        self._tracing = tracing

    async def take(self, delivery: Delivery, opened: Opened) -> Outcome:
        """One try to answer. Errors of the broker end it without an ack: the request comes back."""
        request = opened.request
        task = Task(delivery, request, self._trace(delivery, request), opened.key)
        began = time.monotonic()
        self._routes.open(request.session_id)
        try:
            outcome = await self._take(task)
        except FencedError:
            outcome = Outcome.LOST
        except ChatmeshError as error:
            metrics.errors.labels("workflow", "turn").inc()
            log.error("workflow.turn_failed", **task.keys, error=str(error))
            outcome = Outcome.FAILED
        finally:
            self._routes.close(request.session_id)
        if outcome not in (Outcome.PARKED, Outcome.BUSY):
            _tell(task, outcome, began)
        return outcome

    def _trace(self, delivery: Delivery, request: WorkflowRequest) -> str:
        found = trace.of_request(delivery.headers, delivery.body, request.session_id, request.message_id)
        return found if trace.given(delivery.headers) else self._tracing.decide(found)

    async def _take(self, task: Task) -> Outcome:
        request = task.request
        await self._broker.homes.learn(request.session_id, task.delivery.headers)
        if self._is_new(task.delivery):
            claimed, _ = await together(
                self._claims.begin(request, None, 0), self._routes.learn(request.session_id)
            )
            if claimed is not None:
                return await self._answer(task, claimed, BLANK)
        # Side by side: in sequence these reads would cost the first token 0.7 ms.
        head, state, _ = await together(
            self._head(task),
            self._broker.transcript.state(request.session_id, request.message_id, seconds=READ_SECONDS),
            self._routes.learn(request.session_id),
        )
        match place(head, task.delivery.seq):
            case Park():
                return Outcome.PARKED
            case Gone():
                return Outcome.LOST
        if self._is_erased(task, state):
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
        return await self._answer(task, claimed, state)

    async def _answer(self, task: Task, claimed: Claimed, state: MessageState) -> Outcome:
        """The session is ours. `state` is what was seen before, BLANK where nobody looked."""
        request = task.request
        if self._broker.is_replicated or not self._stops.recent.is_certain:
            # The reads before the claim may have been behind, or an erasure between them and it was not heard; what is seen
            # together with it is all there was before it.
            state = await self._broker.transcript.state(
                request.session_id, request.message_id, seconds=READ_SECONDS, token=claimed.token
            )
            if state.record is not None and state.record.final is not None:
                return await self._finish(task, state.record)
        if self._is_erased(task, state):
            return await self._ack(task)
        ended = await self._answers.answer(
            task,
            claimed,
            self._ended(task, state),
            is_stop_read=state is not BLANK,
            was_erased=state.erasure is not None,
        )
        return Outcome.HANDED_OVER if ended is End.LEAVING else await self._ack(task)

    def _is_erased(self, task: Task, state: MessageState) -> bool:
        """Whether it was accepted before its session was erased. Then nothing is written, since under a claim from behind the
        mark it would be of the new session: the erasure, which stands behind it in the queue, tells whoever waits. It is
        stopped before it is marked, so where the mark came between our reads and our claim the stop was heard, or is
        doubted."""
        was_marked = state.erasure is not None and task.delivery.seq < state.erasure.queue_seq
        return was_marked or self._stops.recent.knows_erased(task.request.session_id, task.delivery.seq)

    async def _head(self, task: Task) -> int | None:
        """The oldest request of the session. JetStream took one that says so only while nothing of its session was there, so
        that one is, when it is delivered for the first time."""
        if _is_first(task.delivery):
            return task.delivery.seq
        return await self._broker.queue.head(task.request.session_id, seconds=READ_SECONDS)

    def _is_new(self, delivery: Delivery) -> bool:
        """Whether nothing of its session was stored, as far as its pod could see. Where that is wrong, a claim as the first
        one is refused; where it is taken, there was none before, so there are no records either. Only while a stop would
        have been heard: nobody wants a model asked for what waited long, and was stopped."""
        is_said = _is_first(delivery) and headers.NEW in delivery.headers
        return is_said and self._stops.would_know(delivery.stored_at)

    def is_over(self, delivery: Delivery) -> bool:
        """Whether a turn at it would only end it, since it is about to vanish from the queue."""
        return self._age.is_over(delivery.stored_at, time.time())

    def _ended(self, task: Task, state: MessageState) -> End | None:
        """Why an answer is to be ended before it begins."""
        if state.ends(task.delivery.seq):
            return End.STOPPED
        return End.EXPIRED if self.is_over(task.delivery) else None

    async def _claim(self, task: Task, decided: Plan) -> Claimed | None:
        """None: another worker is at it, or was faster."""
        request = task.request
        match decided:
            case Begin(held=held, offset=offset):
                return await self._claims.begin(request, held, offset)
            case Continue(held):
                is_here = self._generations.holds(request.session_id, request.message_id)
                if await self._claims.is_held(held, is_held_here=is_here):
                    return None
                return await self._claims.go_on(request, held)
            case Recount(held):
                return await self._claims.recount(request, held)
        return None

    async def _finish(self, task: Task, final: Record) -> Outcome:
        """The final record is stored already, and only its ack was lost. Readers may have missed it too."""
        if not await self._is_published_twice(task, final):
            self._routes.announce(final, task.traceparent, task.key, is_foreign=task.is_foreign)
        return await self._ack(task)

    async def _is_published_twice(self, task: Task, final: Record) -> bool:
        """Whether another message of the queue was answered with it. That happens to foreign requests, which come without
        an id, and their pods show again whatever they hear. One that was ended while it waited, in the turn of another
        message, is told to them only now."""
        if not task.is_foreign or task.delivery.deliveries > 1:
            return False
        session_id, message_id = task.request.session_id, task.request.message_id
        answered = await self._broker.transcript.claimed_at(session_id, final.token, seconds=READ_SECONDS)
        return answered == message_id

    async def _ack(self, task: Task) -> Outcome:
        """Only ever after the final record is stored: a lease is no ownership."""
        if await task.delivery.ack(seconds=ACK_SECONDS):
            return Outcome.DONE
        log.warning("workflow.ack_unconfirmed", subject=task.delivery.subject, seq=task.delivery.seq)
        return Outcome.LOST


def _is_first(delivery: Delivery) -> bool:
    """Whether nothing else of its session is queued or running, for certain."""
    return delivery.deliveries == 1 and delivery.headers.get(headers.EXPECTED_SUBJECT_SEQUENCE) == "0"


def _tell(task: Task, outcome: Outcome, began: float) -> None:
    """The one line of a generation."""
    metrics.generations.labels(outcome.value).inc()
    log.info(
        "workflow.turn",
        **task.keys,
        trace_id=trace.trace_id(task.traceparent),
        subject=task.delivery.subject,
        outcome=outcome.value,
        deliveries=task.delivery.deliveries,
        queued_ms=round((time.time() - task.delivery.stored_at) * 1000),
        latency_ms=round((time.monotonic() - began) * 1000),
    )
