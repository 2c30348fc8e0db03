"""How readers leave: everybody once, few at once, and all in the time there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.hub.waves import LEAST, MOST_WAVES, PAUSE_SECONDS, waves


@pytest.mark.parametrize(
    ("readers", "sizes"),
    [(0, []), (1, [1]), (50, [50]), (51, [50, 1]), (200, [50] * 4), (10_000, [1000] * 10)],
)
def test_few_leave_at_once_and_many_in_ten_waves_at_most(readers: int, sizes: list[int]) -> None:
    assert waves(readers, 5.0) == sizes


def test_without_time_all_leave_at_once() -> None:
    assert waves(10_000, 0.0) == [10_000]


@given(readers=st.integers(0, 1_000_000), seconds=st.floats(0, 86_400))
def test_everybody_leaves_once_and_in_time(readers: int, seconds: float) -> None:
    sizes = waves(readers, seconds)
    assert sum(sizes) == readers
    assert len(sizes) <= MOST_WAVES
    assert all(size >= min(LEAST, readers) for size in sizes[:-1])
    assert max(0, len(sizes) - 1) * PAUSE_SECONDS <= seconds or len(sizes) <= 1
