"""The desk: which of the deliveries at hand may be worked on.

Deliveries of one session wait in the order of acceptance; only the oldest may take a turn. One that is not the oldest
of its session in the whole mesh is parked outside the slots, its lease kept, and looks again when a final of its
session is heard, or after a second.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from chatmesh.broker import Broker, Delivery, Msg, Opened
from chatmesh.errors import BrokerError, KeyMissingError, ProtocolError
from chatmesh.kernel import Actor, Mailbox
from chatmesh.protocol import subjects
from chatmesh.protocol.chunks import FINAL
from chatmesh.protocol.sealing import is_sealed
from chatmesh.protocol.tokens import Token, is_token
from chatmesh.telemetry import get_logger, metrics
from chatmesh.workflow.leases import Leases
from chatmesh.workflow.overdue import Overdue
from chatmesh.workflow.turn import BUSY_SECONDS, Outcome, Turns

log = get_logger("workflow")

LOOK_SECONDS = 1.0
"""The net under the parked: their turn is heard of at once, or seen after so long."""

SLOT_SECONDS = 1.0
"""How long a session waits for a slot here before it is given back to whoever has one: parked sessions keep none, and may find
all of them taken for hours."""

FIRST_LOOK_SECONDS = 0.005
"""After a final was heard: the ack that frees the session follows it within a millisecond or a few."""

BURY_SECONDS = 10.0

OVERDUE_SLOTS = 16
"""Requests pulled beyond the slots, only to be ended, while there are some that are about to vanish."""

RETRY_SECONDS = 1.0
"""Before another try at a request whose turn failed, here or elsewhere."""

HAND_OVER_SECONDS = 5.0
"""What the answers get that are still running at the drain's deadline: to store what was said, and to give back the
session."""


@dataclass(slots=True)
class _Session:
    """The deliveries of one session at this worker. `heap` is ordered by their places in the queue."""

    heap: list[tuple[tuple[float, int], Delivery, Opened]] = field(default_factory=list)
    look_seconds: float = 0.05  # growing to LOOK_SECONDS: a final heard before we listened costs little
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Desk(Actor[Delivery]):
    """Takes deliveries from the puller, gives each its turn. One task for each session at hand, none for a chunk."""

    def __init__(
        self,
        mailbox: Mailbox[Delivery],
        broker: Broker,
        turns: Turns,
        leases: Leases,
        *,
        concurrency: int,
        max_parked: int,
        drain_seconds: float,
        on_free: Callable[[], None],
        on_deadline: Callable[[], None],
        overdue: Overdue,
    ) -> None:
        """`on_deadline`: the running answers have had `drain_seconds` to end, and are to be handed over."""
        super().__init__(mailbox)
        self._broker = broker
        self._turns = turns
        self._leases = leases
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._max_parked = max_parked
        self._drain_seconds = drain_seconds
        self._on_free = on_free
        self._on_deadline = on_deadline
        self._overdue = overdue
        self._sessions: dict[Token, _Session] = {}
        self._waiting = 0  # sessions
        self._active = 0
        self._opening = 0
        self._tasks = asyncio.TaskGroup()
        self._stopping = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def free_slots(self) -> int:
        """How many more requests may be pulled."""
        at_work = len(self._sessions) - self._waiting
        more = OVERDUE_SLOTS if self._overdue.is_found else 0
        return self._concurrency + more - at_work - self._opening - len(self.mailbox)

    @property
    def parked(self) -> int:
        """Deliveries that wait for their session."""
        return len(self._leases) - self._active

    # --- the actor -------------------------------------------------------------------------------------------------

    async def run(self, started: Callable[[], None]) -> None:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await super().run(started)
                # Drained: what is parked or has not begun goes to another worker at once, what runs is waited for.
                self._stopping.set()
                for session in self._sessions.values():
                    session.woken.set()
                self._deadline = asyncio.get_running_loop().call_later(self._drain_seconds, self._on_deadline)
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            # After a crash: a task that was cancelled before its first step has not given back what it was to hold.
            self._sessions.clear()
            self._opening = 0
            self._leases.release_all()

    async def receive(self, message: Delivery) -> None:
        delivery = message
        if delivery.deliveries > 1:
            metrics.redeliveries.inc()
        if not self._leases.hold(delivery):
            return
        is_pulled_for_nothing = self._overdue.is_found and self.free_slots <= OVERDUE_SLOTS
        if (self.parked > self._max_parked or is_pulled_for_nothing) and not self._turns.is_over(delivery):
            await self._give_back(delivery, BUSY_SECONDS)
            return
        # Beside the actor: cards that are read, and dead letters that don't answer, must not hold up other people's requests.
        if is_sealed(delivery.body):
            self._opening += 1
            self._tasks.create_task(self._open(delivery), name="open")
            return
        try:
            opened = self._broker.vault.clear_request(delivery.body, _session_of(delivery), delivery.headers)
        except ProtocolError as error:
            self._tasks.create_task(self._bury(delivery, error), name="bury")
            return
        self._admit(delivery, opened)

    async def _open(self, delivery: Delivery) -> None:
        try:
            # An answer under a key that was destroyed meanwhile would be seen by nobody but those who still have it.
            opened = await self._broker.vault.request(delivery.body, _session_of(delivery), fresh=True)
        except (ProtocolError, KeyMissingError) as error:
            await self._bury(delivery, error)
        except BrokerError as error:
            log.warning("workflow.not_opened", subject=delivery.subject, seq=delivery.seq, error=str(error))
            await self._give_back(delivery, RETRY_SECONDS)
        else:
            if self._stopping.is_set():
                await self._give_back(delivery)
            else:
                self._admit(delivery, opened)
        finally:
            self._opening -= 1
            self._on_free()

    def _admit(self, delivery: Delivery, opened: Opened) -> None:
        session_id = opened.request.session_id
        session = self._sessions.get(session_id)
        is_new = session is None
        if session is None:
            session = self._sessions[session_id] = _Session()
        heapq.heappush(session.heap, (delivery.place, delivery, opened))
        session.woken.set()
        if is_new:
            self._tasks.create_task(self._serve(session_id, session), name=f"session:{session_id}")
        metrics.deliveries_parked.set(self.parked)

    async def _serve(self, session_id: Token, session: _Session) -> None:
        """Works off the session's deliveries, oldest first. Never raises but for a cancel."""
        try:
            while session.heap and not self._stopping.is_set():
                session.woken.clear()
                place, delivery, opened = session.heap[0]
                outcome = await self._turn(delivery, opened)
                if outcome in (Outcome.PARKED, Outcome.BUSY):
                    await self._wait(session_id, session)
                    continue
                if outcome is None or outcome is Outcome.HANDED_OVER:
                    return
                # A still older one may have come in meanwhile; it is this one that is done.
                session.heap = [entry for entry in session.heap if entry[0] != place]
                heapq.heapify(session.heap)
                if outcome is Outcome.FAILED:
                    await self._give_back(delivery, RETRY_SECONDS)
                else:
                    self._leases.release(delivery)
        finally:
            del self._sessions[session_id]
            for _, delivery, _ in session.heap:
                await self._give_back(delivery)
            metrics.deliveries_parked.set(self.parked)
            self._on_free()

    async def _turn(self, delivery: Delivery, opened: Opened) -> Outcome | None:
        """None: there was no slot for it."""
        # One that is only to be ended needs no slot: while all are taken for long, it would vanish unseen.
        if self._turns.is_over(delivery):
            return await self._take(delivery, opened)
        if not await self._has_slot():
            return None
        try:
            return await self._take(delivery, opened)
        finally:
            self._slots.release()

    async def _has_slot(self) -> bool:
        """Takes one, if there is one soon, and this worker does not leave meanwhile."""
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            return False
        if self._stopping.is_set():
            self._slots.release()
            return False
        return True

    async def _take(self, delivery: Delivery, opened: Opened) -> Outcome:
        self._active += 1
        try:
            return await self._turns.take(delivery, opened)
        except Exception:
            metrics.errors.labels("workflow", "turn_crashed").inc()
            request = opened.request
            log.exception(
                "workflow.turn_crashed", session_id=request.session_id, message_id=request.message_id
            )
            return Outcome.FAILED
        finally:
            self._active -= 1
            self._on_free()

    async def _wait(self, session_id: Token, session: _Session) -> None:
        """Until a final of the session is heard from whoever answers it now, or something is delivered, or a look."""
        self._waiting += 1
        try:
            self._on_free()
            await self._listen(session_id, session)
        finally:
            self._waiting -= 1

    async def _listen(self, session_id: Token, session: _Session) -> None:
        def hear(message: Msg) -> None:
            if FINAL in message.data:
                session.look_seconds = FIRST_LOOK_SECONDS
                session.woken.set()

        inbox = await self._broker.connection.subscribe(
            self._broker.homes.published(subjects.transcript_of(session_id)), capacity=1, tap=hear
        )
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(session.look_seconds):
                    await session.woken.wait()
            session.look_seconds = min(2 * session.look_seconds, LOOK_SECONDS)
        finally:
            await self._broker.connection.unsubscribe(inbox)

    async def _give_back(self, delivery: Delivery, delay_seconds: float = 0.0) -> None:
        self._leases.release(delivery)
        await delivery.nak(delay_seconds)

    async def _bury(self, delivery: Delivery, error: ProtocolError | KeyMissingError) -> None:
        """Never retried for ever: a copy with the reason among the dead letters, then out of the queue. Where the dead
        letters don't take it, it stays in the queue and comes back."""
        name = _session_of(delivery)
        session_id = name if is_token(name) else Token("invalid")
        why = "key_missing" if isinstance(error, KeyMissingError) else "undecodable"
        try:
            await self._broker.queue.bury(
                session_id, delivery.seq, delivery.body, str(error), seconds=BURY_SECONDS
            )
        except BrokerError as failure:
            log.error("workflow.not_buried", subject=delivery.subject, seq=delivery.seq, error=str(failure))
        else:
            await delivery.terminate(why)
            metrics.dead_letters.labels(why).inc()
            log.error("workflow.dead_letter", subject=delivery.subject, seq=delivery.seq, reason=str(error))
        finally:
            self._leases.release(delivery)


def _session_of(delivery: Delivery) -> Token:
    """By its subject, which anybody may have made up: no token, perhaps."""
    return Token(delivery.subject.rpartition(".")[2])
