"""The answer of one turn: a lane, a provider that writes into it, and exactly one end.

An answer ends as its provider says, or earlier: stopped, too old, tried too often, or handed over to another worker
because this one leaves. Only the last leaves it without a final chunk.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from chatmesh.broker import Broker
from chatmesh.errors import ProviderError
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.estimates import tokens_of
from chatmesh.protocol.exchanges import exchanges
from chatmesh.protocol.records import asked
from chatmesh.protocol.spend import Spend
from chatmesh.providers import Catalogue, Message, Prompt, Resume
from chatmesh.telemetry import get_logger, metrics
from chatmesh.telemetry.tracing import NO_TRACING, Span, Tracing
from chatmesh.workflow.age import Age
from chatmesh.workflow.claims import CLAIM_SECONDS, Claimed, Claims
from chatmesh.workflow.conversation import Bounds, brought_along, of_session
from chatmesh.workflow.generation import Choice, generate
from chatmesh.workflow.ledger import Ledger
from chatmesh.workflow.pace import Pace
from chatmesh.workflow.ports import LanesPort
from chatmesh.workflow.running import End, Generations, Running
from chatmesh.workflow.spans import begin_attempt, end_attempt
from chatmesh.workflow.stops import StopSweep
from chatmesh.workflow.task import Task
from chatmesh.workflow.writing import Writing

log = get_logger("workflow")


class Answers:
    """Stateless between answers, but for `generations`: what is under way here."""

    def __init__(
        self,
        claims: Claims,
        broker: Broker,
        catalogue: Catalogue,
        lanes: LanesPort,
        generations: Generations,
        stops: StopSweep,
        age: Age,
        bounds: Bounds,
        *,
        max_attempts: int,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._claims = claims
        self._broker = broker
        self._catalogue = catalogue
        self._lanes = lanes
        self._generations = generations
        self._stops = stops
        self._age = age
        self._bounds = bounds
        self._max_attempts = max_attempts
        self._tracing = tracing

    async def answer(
        self, task: Task, claimed: Claimed, ended: End | None, *, is_stop_read: bool, was_erased: bool
    ) -> End | None:
        """Returns once the final record is stored and sent, or (LEAVING) once the session is handed over. `ended`: it is
        to be ended before it begins. `is_stop_read`: a stop of before its turn would have been seen. `was_erased`: the
        session has had a life before. Raises what ended the lane."""
        writing = self._open(task, claimed, begin_attempt(self._tracing, task, claimed))
        # Of an attempt that raises, the next one tells: whoever has lost the claim may not know.
        running = Running(task.request.session_id, task.request.message_id, writing.lane, ended)
        why = await self._answer(
            task, claimed, running, writing, is_stop_read=is_stop_read, was_erased=was_erased
        )
        end_attempt(writing, "handed_over" if why is End.LEAVING else "done")
        return why

    async def _answer(
        self,
        task: Task,
        claimed: Claimed,
        running: Running,
        writing: Writing,
        *,
        is_stop_read: bool,
        was_erased: bool,
    ) -> End | None:
        lane = writing.lane
        left_seconds = max(0.0, self._age.left_seconds(task.delivery.stored_at, time.time()))
        expiry = asyncio.get_running_loop().call_later(left_seconds, running.end, End.EXPIRED)
        look: asyncio.Task[None] | None = None
        metrics.generations_active.inc()
        if claimed.attempt == 1:
            metrics.queue_wait_seconds.observe(max(0.0, time.time() - task.delivery.stored_at))
        try:
            with self._generations.hold(running):
                # What was heard lately may be of the session's life before it was erased.
                if was_erased or not self._stops.recall(running, is_read=is_stop_read):
                    # Beside the answer: looking first would cost its first token a round trip.
                    look = asyncio.create_task(
                        self._stops.look_soon(running, claimed.token), name="stop-look"
                    )
                why = await self._write(task, claimed, running, writing)
                await lane.wait_stored()
                if why is End.LEAVING:
                    await self._claims.hand_over(claimed, lane.offset)
                else:
                    self._book(writing.ledger.spend)
        finally:
            if look is not None:
                look.cancel()
            expiry.cancel()
            lane.close()
            writing.pace.tell()
            metrics.generations_active.dec()
        return why

    def _open(self, task: Task, claimed: Claimed, span: Span) -> Writing:
        request, told = task.request, claimed.told
        max_payload = self._broker.connection.max_payload
        lane = self._lanes.open(
            request.session_id,
            request.message_id,
            token=claimed.token,
            attempt=claimed.attempt,
            offset=told.offset,
            request=asked(request) if told.records == 0 else None,
            is_foreign=task.is_foreign,
            traceparent=span.traceparent,
            key=task.key,
            max_bytes=max_payload,
        )
        encoder = ChunkEncoder(
            request.session_id,
            request.message_id,
            request.correlation_id,
            model=request.model or self._catalogue.default,
            attempt=claimed.attempt,
            # A character is at most six bytes as JSON; two such chunks still fit a message.
            max_text=max_payload // 16,
            next_id=told.next_chunk_id,
            tokens=told.content_chunks,
            told=told.text,
        )
        ledger = Ledger(claimed.attempt, told.written, user_id=request.user_id, price=self._catalogue.price)
        pace = Pace(task.delivery.stored_at if claimed.attempt == 1 else None)
        return Writing(lane, encoder, ledger, pace, span)

    async def _write(self, task: Task, claimed: Claimed, running: Running, writing: Writing) -> End | None:
        """Everything of the answer is in the lane then, its end too."""
        if claimed.attempt > self._max_attempts and running.ended is None:
            reason = f"{self._max_attempts} attempts to answer this message ended without a result"
            await self._bury(task, "attempts", reason)
            writing.fail("attempts_exhausted", reason)
            return None
        why = await self._generate(task, claimed, running, writing)
        if writing.lane.is_ended:
            return None  # whatever came while its model still closed
        match why:
            case End.STOPPED:
                writing.end("cancelled")
            case End.EXPIRED:
                reason = f"it was not answered to its end while the queue keeps it, which is for {self._age}"
                await self._bury(task, "expired", reason)
                writing.fail("request_expired", reason)
            case End.LEAVING:
                writing.lane.flush()
        return why

    async def _generate(self, task: Task, claimed: Claimed, running: Running, writing: Writing) -> End | None:
        request, told = task.request, claimed.told
        try:
            found = self._catalogue.resolve(request.model, request.context.get("ai_provider"))
        except ProviderError as error:
            writing.fail(error.code, error.what)
            return None
        reads_history = any(provider.reads_history for _, provider in found)
        prompt = Prompt(
            "",
            request.message,
            request.context,
            await self._history(task, claimed) if reads_history else (),
            session_id=request.session_id,
            message_id=request.message_id,
            user_id=request.user_id,
            attempt=claimed.attempt,
        )
        writing.ledger.prompt_tokens = _about(prompt)
        choices = [
            Choice(provider, replace(prompt, model=name), self._catalogue.configured(name))
            for name, provider in found
        ]
        resume = Resume(told.text, told.content_chunks, told.is_void)
        # A task of its own, so that a stop reaches a provider that is silent.
        return await running.work(asyncio.create_task(generate(choices, resume, writing)))

    async def _history(self, task: Task, claimed: Claimed) -> tuple[Message, ...]:
        """What was said before."""
        brought = brought_along(task.request.context)
        if brought is not None:
            return brought
        records = await self._claims.before(claimed, self._bounds.turns)
        request = task.request
        return of_session(exchanges(records), request.message_id, request.context, self._bounds)

    def _book(self, spend: Spend) -> None:
        """Once for each message, by whoever has ended it."""
        for call in spend.calls:
            # The name in the configuration: what people ask for by a pattern has no bounds.
            name = self._catalogue.configured(call.model)
            metrics.tokens.labels(name, "prompt").inc(call.prompt_tokens)
            metrics.tokens.labels(name, "delivered").inc(call.delivered_tokens)
            metrics.tokens.labels(name, "discarded").inc(call.generated_tokens - call.delivered_tokens)
            if call.cost is not None:
                metrics.cost.labels(name).inc(call.cost)

    async def _bury(self, task: Task, why: str, reason: str) -> None:
        """A copy with the reason among the dead letters, before the reader gets the end."""
        delivery = task.delivery
        await self._broker.queue.bury(
            task.request.session_id, delivery.seq, delivery.body, reason, seconds=CLAIM_SECONDS
        )
        metrics.dead_letters.labels(why).inc()
        log.error("workflow.dead_letter", **task.keys, reason=reason)


def _about(prompt: Prompt) -> int:
    """How many tokens the model is given, where it does not say so itself."""
    said = [prompt.message, *([prompt.system] if prompt.system else [])]
    contents = (message.get("content") for message in prompt.history)
    return sum(tokens_of(text) for text in [*said, *(text for text in contents if isinstance(text, str))])
