"""Takes a message in: known already? → room in the session? → stored. Only then is it accepted.

The common case is one round trip: a publish that JetStream takes only while nothing of the session is queued or running.
Where that is refused, the queue is looked at: a repetition is recognised, a full session says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from chatmesh.broker import MessageState, Queued, RequestQueue, Transcript
from chatmesh.errors import (
    BrokerError,
    BrokerUnreachableError,
    CapacityError,
    FencedError,
    KeyMissingError,
    PublishRefusedError,
    PublishUnknownError,
    StorageFullError,
)
from chatmesh.ingress.refusals import RETRY_AFTER_SECONDS, key_missing, storage_full
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.sealing import DataKey
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web import Problem

log = get_logger("ingress")

ACCEPT_SECONDS = 5.0
"""How long a POST waits for JetStream's acknowledgement before it says that the outcome is unknown."""

READ_SECONDS = 3.0


class Known(Enum):
    """What of a request may have been here before. MESSAGE: its id came from the client, who may have sent it minutes or days
    ago. SESSION: that one's did. NOTHING: both were made for it, just now."""

    MESSAGE = "message"
    SESSION = "session"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """`on_busy`: what a second message in an answering session does, where the message does not say."""

    on_busy: str
    queue_limit: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message is durable. `is_duplicate`: it was before; `correlation_id` is the first one's then. `interrupts`: what is
    older in the session is to be stopped. `queue_seq`: where it stands in the work queue; 0 where a worker has it from there
    already."""

    is_duplicate: bool
    correlation_id: str
    interrupts: bool = False
    queue_seq: int = 0


class Intake:
    """Stateless: what is known of a message is in the broker, so any pod recognises it."""

    def __init__(
        self,
        queue: RequestQueue,
        transcript: Transcript,
        settings: IntakeSettings,
        *,
        full: Callable[[], str | None],
        seems_new: Callable[[Token], bool],
    ) -> None:
        """`full` names the stream that is so full that nothing new is taken, or None. `seems_new`: of a session that
        somebody reads at this pod, and in which nothing was said as far as it heard."""
        self._queue = queue
        self._transcript = transcript
        self._settings = settings
        self._full = full
        self._seems_new = seems_new

    async def accept(
        self,
        request: WorkflowRequest,
        key: DataKey | None,
        *,
        known: Known,
        traceparent: str,
        refusal: Problem | None = None,
    ) -> Accepted:
        """Returns once JetStream has the message, sealed with `key`, which is of that trace from then on. `refusal`: why
        nothing new is taken of this caller. Raises Problem."""
        try:
            if (full := self._full()) is not None:
                refusal = storage_full(f"Nothing was accepted: {full} is nearly full.")
            # What was answered is heard of by who reads the session here, and JetStream knows each id for two minutes: where
            # nothing was heard, the look would cost the first token a round trip, to see nothing.
            seems_new = known is Known.NOTHING or (refusal is None and self._seems_new(request.session_id))
            state = await self._state(request) if known is Known.MESSAGE and not seems_new else None
            if state is not None and (accepted := await self._answered(request, state)) is not None:
                return accepted
            if refusal is not None:
                return await self._accept_known(request, refusal, known=known)
            try:
                ack = await self._queue.submit(
                    request,
                    key=key,
                    only_if_free=True,
                    is_new=seems_new or (state is not None and state.is_blank),
                    seconds=ACCEPT_SECONDS,
                    traceparent=traceparent,
                )
            except FencedError:
                accepted = await self._accept_busy(request, key, traceparent)
            else:
                accepted = (
                    await self._recognise(request, key, traceparent)
                    if ack.duplicate
                    else self._took(request, ack.seq)
                )
            if key is not None and not accepted.is_duplicate:
                await self._check_kept(key)
        except KeyMissingError as error:
            raise key_missing(error) from error
        except (PublishUnknownError, BrokerUnreachableError, CapacityError, PublishRefusedError) as error:
            raise _refused(error, request) from error
        return accepted

    async def _check_kept(self, key: DataKey) -> None:
        """An erasure between the card and the message would have destroyed the key of what we say is accepted."""
        try:
            is_kept = await self._queue.vault.is_kept(key)
        except BrokerError as error:
            raise PublishUnknownError("whether its key is kept is not known", where=key.session_id) from error
        if not is_kept:
            raise Problem(
                503,
                "not_accepted",
                "Nothing was accepted: the session was erased at this moment.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )

    async def _accept_known(self, request: WorkflowRequest, refusal: Problem, *, known: Known) -> Accepted:
        """Nothing new is taken. What was accepted before, was."""
        if (
            known is Known.MESSAGE
            and (accepted := self._same_of(request, await self._queued(request))) is not None
        ):
            return accepted
        raise refusal

    async def _accept_busy(self, request: WorkflowRequest, key: DataKey | None, traceparent: str) -> Accepted:
        """Something of the session is queued or running: perhaps this very message."""
        queued = await self._queued(request)
        if (accepted := self._same_of(request, queued)) is not None:
            return accepted
        on_busy = request.context.get("on_busy") or self._settings.on_busy
        if queued and on_busy == "reject":
            raise Problem(
                422, "session_busy", "This session is answering another message, and on_busy is reject."
            )
        if len(queued) > self._settings.queue_limit:
            raise Problem(
                429,
                "session_queue_full",
                f"This session has {self._settings.queue_limit} messages waiting; more are not taken.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        ack = await self._queue.submit(
            request, key=key, only_if_free=False, seconds=ACCEPT_SECONDS, traceparent=traceparent
        )
        if ack.duplicate:
            return await self._recognise(request, key, traceparent)
        return self._took(request, ack.seq, interrupts=on_busy == "interrupt")

    async def _state(self, request: WorkflowRequest) -> MessageState:
        return await self._transcript.state(request.session_id, request.message_id, seconds=READ_SECONDS)

    async def _answered(self, request: WorkflowRequest, state: MessageState) -> Accepted | None:
        """The message's own transcript, which outlives JetStream's window for duplicates."""
        if state.shown is None:
            return None
        first = await self._transcript.first_record(
            request.session_id, request.message_id, seconds=READ_SECONDS
        )
        if first is None or first.request is None:
            return None
        return self._same(request, str(first.request.get("digest")), str(first.request.get("correlation_id")))

    async def _recognise(self, request: WorkflowRequest, key: DataKey | None, traceparent: str) -> Accepted:
        """JetStream had the id already: it is queued, running or answered; which one decides whose body counts."""
        if (accepted := self._same_of(request, await self._queued(request))) is not None:
            return accepted
        if (answered := await self._answered(request, await self._state(request))) is not None:
            return answered
        # It was erased with its session, so this is a new message, though JetStream still remembers the id.
        ack = await self._queue.submit(
            request,
            key=key,
            only_if_free=False,
            seconds=ACCEPT_SECONDS,
            again=True,
            traceparent=traceparent,
        )
        return self._took(request, ack.seq)

    async def _queued(self, request: WorkflowRequest) -> list[Queued]:
        return await self._queue.queued(
            request.session_id, limit=self._settings.queue_limit + 1, seconds=READ_SECONDS
        )

    def _same_of(self, request: WorkflowRequest, queued: Sequence[Queued]) -> Accepted | None:
        for entry in queued:
            if entry.request.message_id == request.message_id:
                return self._same(request, entry.request.digest(), entry.request.correlation_id, entry.seq)
        return None

    def _same(
        self, request: WorkflowRequest, digest: str, correlation_id: str, queue_seq: int = 0
    ) -> Accepted:
        if request.digest() != digest:
            raise Problem(
                422,
                "idempotency_conflict",
                f"message_id {request.message_id} was used for another message in this session.",
                more={"message_id": request.message_id},
            )
        metrics.requests_duplicate.inc()
        return Accepted(True, correlation_id or request.correlation_id, queue_seq=queue_seq)

    def _took(self, request: WorkflowRequest, queue_seq: int, *, interrupts: bool = False) -> Accepted:
        metrics.requests_accepted.inc()
        return Accepted(False, request.correlation_id, interrupts, queue_seq)


def _refused(error: Exception, request: WorkflowRequest) -> Problem:
    """What a failed publish means for the client."""
    if isinstance(error, PublishUnknownError):
        return Problem(
            504,
            "acceptance_unknown",
            "The message may or may not have been accepted. Repeating it with this message_id is safe.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
            more={"message_id": request.message_id, "session_id": request.session_id},
        )
    if isinstance(error, BrokerUnreachableError):
        return Problem(
            503, "broker_away", "Nothing was accepted: NATS is away.", retry_after_seconds=RETRY_AFTER_SECONDS
        )
    if isinstance(error, StorageFullError):
        return storage_full("Nothing was accepted: the storage is full.")
    log.error(
        "ingress.refused", session_id=request.session_id, message_id=request.message_id, error=str(error)
    )
    return Problem(
        503, "not_accepted", "Nothing was accepted; try again.", retry_after_seconds=RETRY_AFTER_SECONDS
    )
