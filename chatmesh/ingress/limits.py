"""What one caller may have: messages a minute, answers at a time. Asked before a message is accepted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from chatmesh.ingress.in_flight import Coming, InFlight
from chatmesh.ingress.shares import Load, may_have_another
from chatmesh.kernel.token_buckets import TokenBuckets
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import metrics
from chatmesh.web import Problem

ANSWERS_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """None: no limit."""

    history_messages: int
    user_messages_per_minute: int | None = None
    tenant_messages_per_minute: int | None = None
    user_answers: int | None = None
    tenant_answers: int | None = None
    busy_answers: int | None = None

    @property
    def counts_answers(self) -> bool:
        """Whether any of them needs to know what is in flight."""
        return any(most is not None for most in (self.user_answers, self.tenant_answers, self.busy_answers))


class Place:
    """One more message of a caller's, counted from the question whether it may come, so that of many at once no more get
    in than of many in a row. Left again at its end, unless `keep` was called. `refusal`: there is no place."""

    def __init__(
        self,
        refusal: Problem | None,
        keep: Callable[[], None] = lambda: None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.refusal = refusal
        self._keep = keep
        self._leave = leave
        self._is_kept = False

    def keep(self) -> None:
        """A new message was accepted for it."""
        self._is_kept = True
        self._keep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_kept:
            self._leave()


class Limits:
    """Rates are this pod's own; answers are counted in the whole mesh."""

    def __init__(
        self,
        settings: LimitSettings,
        in_flight: InFlight,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._in_flight = in_flight
        self._clock = clock
        rates = (
            ("user_rate", settings.user_messages_per_minute),
            ("tenant_rate", settings.tenant_messages_per_minute),
        )
        self._rates = [(name, TokenBuckets(most)) for name, most in rates if most is not None]

    def check_history(self, request: WorkflowRequest) -> None:
        """Problem 422 `history_too_long`."""
        history, most = request.context.get("conversation_history"), self._settings.history_messages
        if isinstance(history, list) and len(history) > most:
            metrics.limited.labels("history").inc()
            raise Problem(
                422,
                "history_too_long",
                f"A conversation may have {most} messages, this one has {len(history)}.",
            )

    async def place(self, caller: Caller, session_id: Token) -> Place:
        """For one message more. Its refusal is a 429: `rate_limited`, `too_many_answers` or `mesh_busy`. Raises BrokerError."""
        refusal = self._too_often(caller)
        if refusal is not None:
            return Place(refusal)
        coming = None
        with ExitStack() as until_placed:
            self._take(caller)
            until_placed.callback(self._give_back, caller)
            if self._settings.counts_answers:
                refusal = await self._too_many(caller)
                if refusal is not None:
                    return Place(refusal)
                # No await since the count: nobody else has asked in between.
                coming = self._in_flight.add(session_id, caller.tenant, caller.user)
            until_placed.pop_all()
        return Place(None, partial(self._took, coming), partial(self._left, caller, coming))

    def _take(self, caller: Caller) -> None:
        now = self._clock()
        for name, rates in self._rates:
            rates.take(_key(name, caller), now)

    def _give_back(self, caller: Caller) -> None:
        now = self._clock()
        for name, rates in self._rates:
            rates.give_back(_key(name, caller), now)

    def _took(self, coming: Coming | None) -> None:
        if coming is not None:
            self._in_flight.came(coming)

    def _left(self, caller: Caller, coming: Coming | None) -> None:
        self._give_back(caller)
        if coming is not None:
            self._in_flight.left(coming)

    def _too_often(self, caller: Caller) -> Problem | None:
        now = self._clock()
        for name, rates in self._rates:
            if wait := rates.wait_seconds(_key(name, caller), now):
                metrics.limited.labels(name).inc()
                return Problem(
                    429,
                    "rate_limited",
                    "More messages in a minute than one user, or one tenant, may send here.",
                    retry_after_seconds=math.ceil(wait),
                )
        return None

    async def _too_many(self, caller: Caller) -> Problem | None:
        past = self._past(await self._in_flight.load(caller.tenant, caller.user))
        if past is not None:
            await self._in_flight.look_again()
            past = self._past(await self._in_flight.load(caller.tenant, caller.user))
        if past is None:
            return None
        limit, problem = past
        metrics.limited.labels(limit).inc()
        return problem

    def _past(self, load: Load) -> tuple[str, Problem] | None:
        """Which limit the caller is at, and what to tell them."""
        settings = self._settings
        for name, most, has in (
            ("user_answers", settings.user_answers, load.of_user),
            ("tenant_answers", settings.tenant_answers, load.of_tenant),
        ):
            if most is not None and has >= most:
                return name, Problem(
                    429,
                    "too_many_answers",
                    f"{most} messages of one {name.partition('_')[0]} may be queued or being answered at a time.",
                    retry_after_seconds=ANSWERS_RETRY_SECONDS,
                )
        busy = settings.busy_answers
        if busy is not None and not may_have_another(busy, load):
            return "busy_answers", Problem(
                429,
                "mesh_busy",
                f"{busy} messages or more are queued or being answered, and your share of them is taken.",
                retry_after_seconds=ANSWERS_RETRY_SECONDS,
            )
        return None


def _key(name: str, caller: Caller) -> str:
    """A length in front, so that no two pairs are one."""
    return f"{len(caller.tenant)}:{caller.tenant}:{caller.user if name == 'user_rate' else ''}"
