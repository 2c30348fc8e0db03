"""Lets a message in, whatever the format it came in: may it be answered, does it fit, is somebody there to keep it?

In: a request that its route has read and understood. Out: the same, durable; or a Problem, and nothing was accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from chatmesh.broker import Ownership
from chatmesh.errors import BrokerError, CapacityError, KeyMissingError, StorageFullError
from chatmesh.ingress.gate import Gate
from chatmesh.ingress.intake import Accepted, Intake, Known
from chatmesh.ingress.limits import Limits, Place
from chatmesh.ingress.refusals import RETRY_AFTER_SECONDS, key_missing, storage_full
from chatmesh.ingress.stopping import Stopping
from chatmesh.protocol import trace
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.model_names import is_served
from chatmesh.protocol.sealing import OVERHEAD_BYTES, DataKey
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.telemetry.tracing import NO_TRACING, Kind, Span, Tracing, Value
from chatmesh.web import Problem, Request, unknown_session

log = get_logger("ingress")

REQUEST_MARGIN = 512 + OVERHEAD_BYTES
"""What the transcript's first record has around the request's text, and what sealing adds."""


class Coming(Protocol):
    """A reader who comes with a message: `queue_seq` is where that stands in the work queue, once it is accepted."""

    queue_seq: int


Listen = Callable[[Request, Token, Token], AbstractContextManager[Coming]]


class Admission:
    """`listen` has the hub keep what comes of a message that is read in the answer to its request: from before it is published,
    since a worker may answer at once. `expect` tells the hub that an answer is on its way; `models` are the served ones (None:
    nobody knows yet); `max_payload` is the broker's limit; `is_open`: new messages are taken; `is_connected`: as far as is
    known, the broker is there. Where it is not, nobody has to wait for that answer."""

    def __init__(
        self,
        intake: Intake,
        stopping: Stopping,
        ownership: Ownership,
        limits: Limits,
        *,
        pod_id: Token,
        default_model: str,
        listen: Listen,
        expect: Callable[[Token, Token], None],
        models: Callable[[], set[str] | None],
        max_payload: Callable[[], int],
        is_open: Callable[[], bool],
        is_connected: Callable[[], bool],
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._intake = intake
        self._stopping = stopping
        self._ownership = ownership
        self._limits = limits
        self._pod_id = pod_id
        self._default_model = default_model
        self.listen = listen
        self._expect = expect
        self._models = models
        self._max_payload = max_payload
        self._is_open = is_open
        self._is_connected = is_connected
        self._tracing = tracing
        self._gate = Gate()

    @property
    def served_models(self) -> list[str]:
        """By name; none while no worker was heard of."""
        return sorted(self._models() or ())

    @property
    def is_open(self) -> bool:
        """False while this pod leaves."""
        return self._is_open()

    def check_open(self) -> None:
        """Before a body is read. Problem 503 `not_ready`."""
        if not self.is_open:
            raise Problem(
                503, "not_ready", "This pod takes no messages now.", retry_after_seconds=RETRY_AFTER_SECONDS
            )

    def check_broker(self) -> None:
        """Before anything is sent, so that it is true. What the broker's end interrupts is found out where it happens.
        Problem 503 `broker_away`."""
        if not self._is_connected():
            raise Problem(
                503,
                "broker_away",
                "NATS is away: nothing was accepted, read, stopped or erased.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    async def admit(
        self, request: WorkflowRequest, *, caller: Caller, known: Known, traceparent: str
    ) -> Accepted:
        """Returns once the message is durable. `traceparent`: the client's, or
        empty. Problem 404 `unknown_session` where the session is another caller's, 413 `too_large`, 422 `unknown_model`,
        503 `overloaded`, and what Intake raises."""
        began = time.monotonic()
        ids: dict[str, Value] = {"session_id": request.session_id, "message_id": request.message_id}
        with self._tracing.root("accepted", traceparent, ids, Kind.SERVER) as span:
            accepted = await self._admit(request, caller, span, known=known)
        log.info(
            "ingress.accepted",
            **ids,
            correlation_id=request.correlation_id,
            trace_id=trace.trace_id(span.traceparent),
            pod_id=self._pod_id,
            duplicate=accepted.is_duplicate,
            latency_ms=round((time.monotonic() - began) * 1000, 1),
        )
        return accepted

    async def _admit(self, request: WorkflowRequest, caller: Caller, span: Span, *, known: Known) -> Accepted:
        self._check_model(request)
        self._check_size(request)
        self._limits.check_history(request)
        async with self._gate:
            accepted = await self._store(request, caller, span, known=known)
        if not accepted.is_duplicate:
            self._expect(request.session_id, request.message_id)
        return accepted

    async def _store(self, request: WorkflowRequest, caller: Caller, span: Span, *, known: Known) -> Accepted:
        """Through the gate: while it waited, the pod may have been told to leave, or have lost the broker."""
        self.check_open()
        self.check_broker()
        with await self._place(caller, request, known=known) as place:
            key = await self._begin(caller, request.session_id) if place.refusal is None else None
            accepted = await self._intake.accept(
                request,
                key,
                known=known,
                traceparent=span.traceparent,
                refusal=place.refusal,
            )
            if not accepted.is_duplicate:
                place.keep()
        span.note(duplicate=accepted.is_duplicate)
        if accepted.interrupts:
            await self._stopping.interrupt(request.session_id, request.message_id)
        return accepted

    async def _place(self, caller: Caller, request: WorkflowRequest, *, known: Known) -> Place:
        """For the message. Why nothing new of the caller's is taken is raised at once, but for a message of a session of
        theirs that may have been accepted before: one who repeats it is told."""
        try:
            place = await self._limits.place(caller, request.session_id)
            if place.refusal is None:
                return place
            if known is Known.MESSAGE and await self._ownership.is_theirs(caller, request.session_id):
                return place
        except BrokerError as error:
            raise _away_for_limits() from error
        raise place.refusal

    async def _begin(self, caller: Caller, session_id: Token) -> DataKey | None:
        """Before the message is stored, so that there is nothing in a session that nobody owns."""
        try:
            begun = await self._ownership.begin(caller, session_id)
        except StorageFullError as error:
            raise storage_full("Nothing was accepted: there is no room for another session.") from error
        except KeyMissingError as error:
            raise key_missing(error) from error
        except (BrokerError, CapacityError) as error:
            raise Problem(
                503,
                "broker_away",
                "Nothing was accepted: whose the session is could not be read or stored.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            ) from error
        if not begun.is_theirs:
            raise unknown_session()
        return begun.key

    def _check_model(self, request: WorkflowRequest) -> None:
        """While no worker was heard of, a message is accepted and waits."""
        known = self._models()
        model = request.model or self._default_model
        if known is not None and not is_served(model, known):
            raise Problem(
                422,
                "unknown_model",
                f"No worker serves the model {model!r:.80}. Served: {', '.join(sorted(known))}.",
                more={"models": sorted(known)},
            )

    def _check_size(self, request: WorkflowRequest) -> None:
        size, most = len(request.encode()), self._max_payload() - REQUEST_MARGIN
        if size > most:
            raise Problem(
                413, "too_large", f"The message takes {size} bytes on its way; the broker takes {most}."
            )


def _away_for_limits() -> Problem:
    return Problem(
        503,
        "broker_away",
        "Nothing was accepted: how much is under way could not be read.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
