"""When to restart and when to give up. Plain functions of time and history; nothing here waits."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts a supervisor grants, all its children together, in any window of `seconds`.

    `Intensity(0, 1.0)` grants none: the first crash stops all children and escalates, so a supervisor above restarts
    them together (one for all).
    """

    restarts: int
    seconds: float

    def __post_init__(self) -> None:
        if self.restarts < 0 or not self.seconds > 0:
            raise ValueError(f"expected restarts of 0 or more in more than 0 seconds, got {self}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a restart: `first_seconds`, then `factor` times more each time, up to `max_seconds`.

    `jitter` is the share of the wait that chance may take away, 0 to 1, so that what fell together does not come back
    together. `chance` yields numbers from 0 up to 1.
    """

    first_seconds: float = 0.1
    factor: float = 2.0
    max_seconds: float = 10.0
    jitter: float = 0.5
    chance: Callable[[], float] = random.SystemRandom().random

    def seconds(self, crashes: int) -> float:
        """The wait after so many `crashes` of one child in the present window, from 1 on."""
        # 32 steps pass any sensible max_seconds; without a limit the power overflows one day.
        grown = self.first_seconds * self.factor ** min(crashes - 1, 32)
        return min(grown, self.max_seconds) * (1 - self.jitter * self.chance())


class CrashHistory:
    """The crashes below one supervisor that its window still holds."""

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._crashes: deque[tuple[float, str]] = deque()

    def add(self, name: str, at: float) -> int:
        """Note a crash of child `name` at monotonic time `at`. Returns how often it crashed within the window."""
        self._crashes.append((at, name))
        while at - self._crashes[0][0] >= self._intensity.seconds:
            self._crashes.popleft()
        return sum(crashed == name for _, crashed in self._crashes)

    @property
    def is_exceeded(self) -> bool:
        return len(self._crashes) > self._intensity.restarts
