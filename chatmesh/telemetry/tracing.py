"""Spans of a message's way, for whoever collects them: the port that rooms call. Here nothing is sent, see `otlp`.

A span is of the trace that its parent's `traceparent` names. One of a trace that is not sampled is not recorded, and hands
on the `traceparent` that it got, so that a chain of spans has no link that nobody knows. There is none for a chunk. An
attribute never says what people and models wrote, who they are, or a key.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self

from chatmesh.protocol import trace

Value = str | int | bool
About = Mapping[str, Value]
"""Attributes, in the words of the log lines."""


class Kind(Enum):
    """As OpenTelemetry has them. SERVER: asked by somebody outside; CONSUMER: took it from a queue; CLIENT: asks."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Ended:
    """A span that is over. Times in Unix seconds; `parent_id` is empty for the first of a trace; `error` is a code, empty
    where nothing went wrong."""

    name: str
    kind: Kind
    traceparent: str
    parent_id: str
    began: float
    ended: float
    attributes: About
    events: tuple[tuple[str, float], ...] = ()
    error: str = ""


class Span:
    """One that is not recorded. `traceparent` goes on to whatever is done below it."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    @property
    def is_recorded(self) -> bool:
        return False

    def note(self, **attributes: Value) -> None:
        """More of what is known of it; the last word counts."""

    def event(self, name: str, at: float | None = None) -> None:
        """Something happened in it, now or at `at` (Unix seconds)."""

    def fail(self, code: str) -> None:
        """It goes wrong. The last code counts."""

    def child(self, name: str, about: About, kind: Kind = Kind.INTERNAL) -> Span:
        """One below it, which begins now."""
        return self

    def end(self, at: float | None = None) -> None:
        """Now or at `at`. Only the first end counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends it. Who is cancelled does nothing wrong."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.note(cancelled=True)
        elif error is not None:
            self.fail(code_of(error))
        self.end()


UNRECORDED = Span()


class Tracing:
    """Records nothing, and costs nothing."""

    is_on = False

    def root(self, name: str, given: str, about: About, kind: Kind = Kind.INTERNAL) -> Span:
        """A span below what the client has `given`; without it the first one of a trace that begins here."""
        return Span(given or trace.fresh())

    def begin(
        self,
        name: str,
        parent: str,
        about: About,
        kind: Kind = Kind.INTERNAL,
        *,
        id: str = "",
        at: float | None = None,
    ) -> Span:
        """A span below the `traceparent` of its parent, since now or `at` (Unix seconds). `id`: its own, 16 hexadecimal
        digits, where others can know it beforehand."""
        return Span(parent)

    def decide(self, traceparent: str) -> str:
        """The same of a trace of which nobody has said whether it is sampled."""
        return traceparent


NO_TRACING = Tracing()


class Recording(Tracing):
    """`take` gets every span that has ended, on the event loop, and must not wait. `ratio`: of the traces about which nobody
    has decided, so many are sampled, by their ids: every process decides alike."""

    is_on = True

    def __init__(self, take: Callable[[Ended], None], ratio: float) -> None:
        self._take = take
        self._bound = round(ratio * 2**64)

    def root(self, name: str, given: str, about: About, kind: Kind = Kind.INTERNAL) -> Span:
        if given:
            return self.begin(name, given, about, kind)
        traceparent = self.decide(trace.fresh())
        if not trace.is_sampled(traceparent):
            return Span(traceparent)
        return _Recorded(self._take, name, kind, traceparent, "", time.time(), about)

    def begin(
        self,
        name: str,
        parent: str,
        about: About,
        kind: Kind = Kind.INTERNAL,
        *,
        id: str = "",
        at: float | None = None,
    ) -> Span:
        if not trace.is_sampled(parent):
            return Span(parent)
        own = trace.below(parent, id or secrets.token_hex(8))
        began = time.time() if at is None else at
        return _Recorded(self._take, name, kind, own, trace.span_id(parent), began, about)

    def decide(self, traceparent: str) -> str:
        # The rule of OpenTelemetry's TraceIdRatioBased: the lower half of the id is a random number.
        is_chosen = int(trace.trace_id(traceparent)[16:], 16) < self._bound
        return trace.sampled(traceparent) if is_chosen else traceparent


@dataclass(slots=True)
class _State:
    attributes: dict[str, Value]
    events: list[tuple[str, float]] = field(default_factory=list)
    error: str = ""
    is_over: bool = False


class _Recorded(Span):
    __slots__ = ("_began", "_kind", "_name", "_parent_id", "_state", "_take")

    def __init__(
        self,
        take: Callable[[Ended], None],
        name: str,
        kind: Kind,
        traceparent: str,
        parent_id: str,
        began: float,
        about: About,
    ) -> None:
        super().__init__(traceparent)
        self._take = take
        self._name = name
        self._kind = kind
        self._parent_id = parent_id
        self._began = began
        self._state = _State(dict(about))

    @property
    def is_recorded(self) -> bool:
        return True

    def note(self, **attributes: Value) -> None:
        self._state.attributes.update(attributes)

    def event(self, name: str, at: float | None = None) -> None:
        self._state.events.append((name, time.time() if at is None else at))

    def fail(self, code: str) -> None:
        self._state.error = code

    def child(self, name: str, about: About, kind: Kind = Kind.INTERNAL) -> Span:
        own = trace.below(self.traceparent, secrets.token_hex(8))
        return _Recorded(self._take, name, kind, own, trace.span_id(self.traceparent), time.time(), about)

    def end(self, at: float | None = None) -> None:
        state = self._state
        if state.is_over:
            return
        state.is_over = True
        # The clock of whoever has stored what it begins with may be ahead of ours.
        ended = max(time.time() if at is None else at, self._began)
        self._take(
            Ended(
                self._name,
                self._kind,
                self.traceparent,
                self._parent_id,
                self._began,
                ended,
                state.attributes,
                tuple(state.events),
                state.error,
            )
        )


def code_of(error: BaseException) -> str:
    """Of what was raised: its stable code where it has one. Never its text, which may quote anything."""
    return str(getattr(error, "code", type(error).__name__))
