"""So many at once, and as many again in a minute, for each on its own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.kernel import token_buckets
from chatmesh.kernel.token_buckets import TokenBuckets


def allowed(bucket: TokenBuckets, key: str, now: float) -> bool:
    if bucket.wait_seconds(key, now):
        return False
    bucket.take(key, now)
    return True


def test_a_minutes_worth_may_come_at_once_and_then_one_every_so_often() -> None:
    bucket = TokenBuckets(6)
    assert [allowed(bucket, "a", 100.0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert bucket.wait_seconds("a", 100.0) == pytest.approx(10)
    assert bucket.wait_seconds("a", 104.0) == pytest.approx(6)
    assert allowed(bucket, "a", 110.0)
    assert not allowed(bucket, "a", 110.0)


def test_one_who_asks_too_often_costs_nobody_else_anything() -> None:
    bucket = TokenBuckets(1)
    assert allowed(bucket, "a", 0.0)
    assert not allowed(bucket, "a", 0.0)
    assert allowed(bucket, "b", 0.0)


def test_what_was_not_done_after_all_counts_for_nothing() -> None:
    bucket = TokenBuckets(2)
    bucket.give_back("a", 0.0)
    bucket.take("a", 0.0)
    bucket.give_back("a", 0.0)
    assert [allowed(bucket, "a", 0.0) for _ in range(3)] == [True, True, False]


@given(
    per_minute=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=200),
)
def test_no_span_of_time_has_more_than_its_share(per_minute: int, pauses: list[float]) -> None:
    bucket, now, taken = TokenBuckets(per_minute), 0.0, []
    for pause in pauses:
        now += pause
        if allowed(bucket, "a", now):
            taken.append(now)
    for at, first in enumerate(taken):
        for count, last in enumerate(taken[at:], start=1):
            assert count <= per_minute + math.ceil((last - first) * per_minute / 60 + 1e-6)


def test_those_that_are_quiet_are_forgotten_and_a_flood_of_names_has_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = TokenBuckets(60)
    for number in range(1000):
        bucket.take(str(number), now=number * 10.0)
    assert len(bucket) < 10
    flood = TokenBuckets(60)
    monkeypatch.setattr(token_buckets, "MAX_KEPT", 100)
    for number in range(1000):
        flood.take(str(number), now=0.0)
    assert len(flood) <= 101
