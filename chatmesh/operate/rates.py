"""How fast a mesh works, from samples of its counters: pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 60.0
"""Of what happens now and then: messages, takeovers."""

TOKENS_WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at the moment `at` (monotonic seconds). Their beginnings mean nothing, their growth does. `tokens` is None
    where it can't be told here."""

    at: float
    accepted: int
    ended: int
    claims: int
    takeovers: int
    dead_letters: int
    tokens: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Over the last `seconds`, a minute at most; tokens over the last five seconds. `tokens_per_second` is None where it can't be
    told here."""

    seconds: float
    accepted_per_minute: float
    ended_per_minute: float
    claims_per_minute: float
    takeovers_per_minute: float
    dead_letters_per_minute: float
    tokens_per_second: float | None


class Window:
    """The samples of the last minute."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """A counter that shrank is another one: a stream was made anew. What was before it says nothing then."""
        if self._samples and _has_shrunk(self._samples[-1], sample):
            self._samples.clear()
        self._samples.append(sample)
        # One that is older stays, so that the window is a minute long and not less.
        while len(self._samples) > 2 and sample.at - self._samples[1].at >= WINDOW_SECONDS:
            self._samples.popleft()

    def rates(self) -> Rates | None:
        """None while there is nothing to compare."""
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        minutes = seconds / 60
        return Rates(
            seconds,
            (last.accepted - first.accepted) / minutes,
            (last.ended - first.ended) / minutes,
            (last.claims - first.claims) / minutes,
            (last.takeovers - first.takeovers) / minutes,
            (last.dead_letters - first.dead_letters) / minutes,
            self._tokens_per_second(),
        )

    def _tokens_per_second(self) -> float | None:
        last = self._samples[-1]
        for first in self._samples:
            if last.at - first.at <= TOKENS_WINDOW_SECONDS or first is self._samples[-2]:
                if first.tokens is None or last.tokens is None:
                    return None
                return (last.tokens - first.tokens) / (last.at - first.at)
        return None


def _has_shrunk(before: Sample, after: Sample) -> bool:
    return after.accepted < before.accepted or after.ended < before.ended or after.at <= before.at
