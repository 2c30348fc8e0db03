"""A request is ended before JetStream drops it, with time left to do so."""

from __future__ import annotations

import pytest

from chatmesh.workflow import Age

DAY = 86_400.0


@pytest.mark.parametrize(("max_seconds", "margin"), [(DAY, 60.0), (240.0, 60.0), (4.0, 1.0)])
def test_margin_is_a_minute_or_a_quarter(max_seconds: float, margin: float) -> None:
    assert Age(max_seconds).margin_seconds == margin


def test_request_is_over_a_margin_before_it_vanishes() -> None:
    age = Age(DAY)
    assert age.left_seconds(1000.0, 1000.0) == DAY - 60
    assert not age.is_over(1000.0, 1000.0 + DAY - 61)
    assert age.is_over(1000.0, 1000.0 + DAY - 60)


@pytest.mark.parametrize(("max_seconds", "text"), [(DAY, "24 h"), (5400.0, "1.5 h"), (4.0, "4 s")])
def test_age_reads_as_people_say_it(max_seconds: float, text: str) -> None:
    assert str(Age(max_seconds)) == text
