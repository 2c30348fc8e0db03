"""Backoff and intensity, without a tree."""

from __future__ import annotations

import pytest

from chatmesh.kernel import Backoff, Child, Intensity, Service
from chatmesh.kernel.restarts import CrashHistory


def no_service() -> Service:
    raise NotImplementedError


def test_backoff_grows_up_to_its_limit() -> None:
    backoff = Backoff(0.1, factor=2.0, max_seconds=1.0, jitter=0.0)
    assert [backoff.seconds(crashes) for crashes in (1, 2, 3, 4, 5, 100_000)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.0,
        1.0,
    ]


def test_jitter_takes_away_up_to_its_share() -> None:
    chances = iter([0.0, 0.5, 1.0])
    backoff = Backoff(4.0, jitter=0.5, chance=lambda: next(chances))
    assert [backoff.seconds(1) for _ in range(3)] == [4.0, 3.0, 2.0]


def test_default_backoff_is_jittered() -> None:
    assert len({Backoff().seconds(1) for _ in range(20)}) > 1


def test_crashes_are_counted_for_each_child_and_limited_for_all() -> None:
    history = CrashHistory(Intensity(2, 10.0))
    assert [history.add("a", 0.0), history.add("b", 1.0)] == [1, 1]
    assert not history.is_exceeded
    assert history.add("a", 2.0) == 2
    assert history.is_exceeded


def test_crashes_leave_the_window_one_by_one() -> None:
    history = CrashHistory(Intensity(1, 10.0))
    for at in (0.0, 10.0, 20.0):
        assert history.add("a", at) == 1
        assert not history.is_exceeded
    assert history.add("a", 29.9) == 2
    assert history.is_exceeded


@pytest.mark.parametrize(("restarts", "seconds"), [(-1, 1.0), (1, 0.0), (1, float("nan"))])
def test_intensity_without_sense_is_refused(restarts: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="expected restarts"):
        Intensity(restarts, seconds)


@pytest.mark.parametrize(
    ("name", "drain_seconds"), [("", 1.0), ("a/b", 1.0), ("a", -1.0), ("a", float("nan"))]
)
def test_child_without_sense_is_refused(name: str, drain_seconds: float) -> None:
    with pytest.raises(ValueError, match=r"slash|drain_seconds"):
        Child(name, no_service, drain_seconds=drain_seconds)
