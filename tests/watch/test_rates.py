"""Rates are what counters grew by, over the last minute; a counter that shrank is another one."""

from __future__ import annotations

from chatmesh.operate.rates import Rates, Sample, Window


def sample(at: float, accepted: int, **fields: float | None) -> Sample:
    counters = {"ended": 0, "claims": 0, "takeovers": 0, "dead_letters": 0, "tokens": 0.0} | fields
    return Sample(at, accepted, **counters)  # type: ignore[arg-type]


def rates_of(*samples: Sample) -> Rates | None:
    window = Window()
    for each in samples:
        window.add(each)
    return window.rates()


def test_one_sample_gives_no_rates() -> None:
    assert rates_of() is None
    assert rates_of(sample(0, 5)) is None


def test_rates_are_the_growth_between_first_and_last_sample() -> None:
    last = sample(30, 110, ended=5, claims=6, takeovers=1, dead_letters=2, tokens=300.0)
    assert rates_of(sample(0, 100), last) == Rates(30, 20, 10, 12, 2, 4, 10.0)


def test_window_is_a_minute_and_that_of_tokens_five_seconds() -> None:
    found = rates_of(
        *(sample(at, 10 * max(0, at - 100), tokens=float(max(0, at - 175))) for at in range(181))
    )
    assert found is not None
    assert (found.seconds, found.accepted_per_minute, found.tokens_per_second) == (60, 600, 1.0)


def test_counter_that_shrank_begins_anew() -> None:
    samples = [sample(0, 1000), sample(1, 1001), sample(2, 3)]
    assert rates_of(*samples) is None
    found = rates_of(*samples, sample(3, 4))
    assert found is not None
    assert (found.seconds, found.accepted_per_minute) == (1, 60)


def test_tokens_that_can_not_be_counted_are_none() -> None:
    found = rates_of(sample(0, 0), sample(1, 0, tokens=None))
    assert found is not None
    assert found.tokens_per_second is None
