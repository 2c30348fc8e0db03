"""What one caller may have: messages a minute, answers at a time. Asked before a message is accepted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from chatmesh.ingress.in_flight import InFlight
from chatmesh.kernel.rates import Rates
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.messages import WorkflowRequest
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
        self._rates = [(name, Rates(most)) for name, most in rates if most is not None]
        self._counts_answers = settings.user_answers is not None or settings.tenant_answers is not None

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

    async def refusal(self, caller: Caller) -> Problem | None:
        """429 `rate_limited` or `too_many_answers`; None: one more may be accepted. Raises BrokerError."""
        return self._too_often(caller) or await self._too_many(caller)

    def took(self, caller: Caller) -> None:
        """A new message of the caller's was accepted."""
        now = self._clock()
        for name, rates in self._rates:
            rates.take(_key(name, caller), now)
        if self._counts_answers:
            self._in_flight.add(caller.tenant, caller.user)

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
        for name, most, user in (
            ("user_answers", self._settings.user_answers, caller.user),
            ("tenant_answers", self._settings.tenant_answers, ""),
        ):
            if most is not None and await self._in_flight.count(caller.tenant, user) >= most:
                metrics.limited.labels(name).inc()
                return Problem(
                    429,
                    "too_many_answers",
                    f"{most} messages of one {name.partition('_')[0]} may be queued or being answered at a time.",
                    retry_after_seconds=ANSWERS_RETRY_SECONDS,
                )
        return None


def _key(name: str, caller: Caller) -> str:
    """A length in front, so that no two pairs are one."""
    return f"{len(caller.tenant)}:{caller.tenant}:{caller.user if name == 'user_rate' else ''}"
