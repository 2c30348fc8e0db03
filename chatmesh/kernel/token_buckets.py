"""How often somebody may do something: a token bucket for each of them. Pure: time comes in."""

from __future__ import annotations

from collections import OrderedDict

MAX_KEPT = 100_000
"""Buckets; about 200 bytes each. Past it those that were not used longest are forgotten, which fills them."""


class TokenBuckets:
    """`per_minute` at once, and again evenly over a minute. `now` is in seconds of any clock that does not go back."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What is left, and as of when."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_seconds(self, key: str, now: float) -> float:
        """Until `key` may do it again; 0: now."""
        return max(0.0, (1 - self._left(key, now)) / self._per_second)

    def take(self, key: str, now: float) -> None:
        """`key` does it."""
        self._buckets[key] = (self._left(key, now) - 1, now)
        self._buckets.move_to_end(key)
        self._forget(now)

    def give_back(self, key: str, now: float) -> None:
        """`key` took one and did not do it after all."""
        if key in self._buckets:
            self._buckets[key] = (min(self._most, self._left(key, now) + 1), now)

    def _left(self, key: str, now: float) -> float:
        left, at = self._buckets.get(key, (self._most, now))
        return min(self._most, left + (now - at) * self._per_second)

    def _forget(self, now: float) -> None:
        """The oldest, where it is full again or one too many: two for each that comes, so that it gets smaller."""
        for _ in range(2):
            key, (left, at) = next(iter(self._buckets.items()))
            is_full = left + (now - at) * self._per_second >= self._most
            if not is_full and len(self._buckets) <= MAX_KEPT:
                return
            del self._buckets[key]
            if not self._buckets:
                return
