"""The five key metrics as tiles, from two readings of this process's own metrics. Pure.

In: samples of the metrics, taken again and again. Out: values, and for each whether it is as it should be. Thresholds stand
here, and go along with each tile.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from prometheus_client.registry import Collector

from chatmesh.telemetry import metrics

WINDOW_SECONDS = 60.0
RATE_SECONDS = 10.0
"""Of what is told by the second."""

LAG_SECONDS = (0.25, 1.0)
"""Of the 99th percentile: a look is due, and something is wrong."""

SIZE_RATIO = (0.5, 0.9)
"""Of the broker's `max_payload`."""

ERRORS_PER_MINUTE = (1.0, 10.0)

SUBSCRIPTIONS = (1000.0, 10_000.0)
"""A pod has a handful: what grows with sessions or readers is a leak."""

Level = Literal["good", "look", "bad", "none"]
"""NONE: nothing was measured."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: how many were at most each bound, and their sum."""

    counts: Mapping[float, float] = field(default_factory=dict)
    sum: float = 0.0

    @property
    def count(self) -> float:
        return self.counts.get(inf, 0.0)

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count else None

    def quantile(self, part: float) -> float | None:
        """The bound below which that part lies; None for nothing, or where it lies past the last bound."""
        if not self.count:
            return None
        bound = next(bound for bound, count in sorted(self.counts.items()) if count >= part * self.count)
        return bound if bound != inf else max((each for each in self.counts if each != inf), default=None)

    def plus(self, other: Buckets, sign: int = 1) -> Buckets:
        bounds = {*self.counts, *other.counts}
        return Buckets(
            {bound: self.counts.get(bound, 0.0) + sign * other.counts.get(bound, 0.0) for bound in bounds},
            self.sum + sign * other.sum,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """At one moment (monotonic seconds). Counters grow from the process's beginning on."""

    at: float
    published: Mapping[str, Buckets]
    lag: Mapping[str, Buckets]
    errors: float
    subscriptions: float
    slow_readers: float
    stalled: float
    gap_fills: float


def read(at: float) -> Reading:
    """The metrics as they are now."""
    return Reading(
        at,
        _histograms(metrics.published_bytes),
        _histograms(metrics.delivery_lag),
        sum(map(_total, (metrics.errors, metrics.publish_unanswered, metrics.dropped))),
        _total(metrics.broker_subscriptions),
        _total(metrics.slow_readers),
        _total(metrics.http_stalled),
        _total(metrics.gap_fills),
    )


class Gauges:
    """The readings of the last minute."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()

    def add(self, reading: Reading) -> None:
        self._readings.append(reading)
        while len(self._readings) > 2 and reading.at - self._readings[1].at >= WINDOW_SECONDS:
            self._readings.popleft()

    def tiles(self, *, max_payload: int) -> list[dict[str, Any]]:
        """The five, in the order in which one reads them."""
        first, last = self._readings[0], self._readings[-1]
        minute = (last.at - first.at) / 60
        return [
            self._publish_rate(last),
            _lag(_growth(first.lag, last.lag)),
            _sizes(_all(_growth(first.published, last.published)), max_payload),
            _errors(last.errors - first.errors, minute),
            _subscriptions(last.subscriptions),
        ]

    def readers(self) -> dict[str, float]:
        """What became of slow ones within the window."""
        first, last = self._readings[0], self._readings[-1]
        return {
            "fell_behind": last.slow_readers - first.slow_readers,
            "cut": last.stalled - first.stalled,
            "healed": last.gap_fills - first.gap_fills,
        }

    def _publish_rate(self, last: Reading) -> dict[str, Any]:
        first = next(each for each in self._readings if last.at - each.at <= RATE_SECONDS)
        if first is last and len(self._readings) > 1:
            first = self._readings[-2]
        seconds = last.at - first.at
        grown = _growth(first.published, last.published) if seconds else {}
        rates = {subject: each.count / seconds for subject, each in grown.items() if each.count}
        return {
            "name": "publish_rate",
            "value": sum(rates.values()) if seconds else None,
            "level": "good" if seconds else "none",
            "thresholds": [],
            "parts": dict(sorted(rates.items(), key=lambda pair: -pair[1])),
        }


def level(value: float | None, thresholds: tuple[float, float]) -> Level:
    """From the first threshold on it wants a look, from the second on it is bad."""
    if value is None:
        return "none"
    return "bad" if value >= thresholds[1] else "look" if value >= thresholds[0] else "good"


def _lag(grown: Mapping[str, Buckets]) -> dict[str, Any]:
    everything = _all(grown)
    p99 = everything.quantile(0.99)
    return {
        "name": "delivery_lag",
        "value": p99,
        "mean": everything.mean,
        "level": level(p99, LAG_SECONDS),
        "thresholds": list(LAG_SECONDS),
        "parts": {subject: each.quantile(0.99) for subject, each in grown.items() if each.count},
    }


def _sizes(grown: Buckets, max_payload: int) -> dict[str, Any]:
    p99 = grown.quantile(0.99)
    thresholds = (SIZE_RATIO[0] * max_payload, SIZE_RATIO[1] * max_payload)
    return {
        "name": "message_size",
        "value": p99,
        "mean": grown.mean,
        "level": level(p99, thresholds),
        "thresholds": list(thresholds),
        "parts": {},
    }


def _errors(count: float, minutes: float) -> dict[str, Any]:
    rate = count / minutes if minutes else None
    return {
        "name": "errors",
        "value": rate,
        "level": level(rate, ERRORS_PER_MINUTE),
        "thresholds": list(ERRORS_PER_MINUTE),
        "parts": {},
    }


def _subscriptions(count: float) -> dict[str, Any]:
    return {
        "name": "subscriptions",
        "value": count,
        "level": level(count, SUBSCRIPTIONS),
        "thresholds": list(SUBSCRIPTIONS),
        "parts": {},
    }


def _growth(first: Mapping[str, Buckets], last: Mapping[str, Buckets]) -> dict[str, Buckets]:
    return {name: each.plus(first.get(name, Buckets()), -1) for name, each in last.items()}


def _all(parts: Mapping[str, Buckets]) -> Buckets:
    whole = Buckets()
    for each in parts.values():
        whole = whole.plus(each)
    return whole


def _histograms(collector: Collector) -> dict[str, Buckets]:
    """By the metric's one label, `subject`."""
    counts: defaultdict[str, dict[float, float]] = defaultdict(dict)
    sums: dict[str, float] = {}
    for family in collector.collect():
        for sample in family.samples:
            subject = sample.labels.get("subject", "")
            if sample.name.endswith("_bucket"):
                counts[subject][float(sample.labels["le"])] = sample.value
            elif sample.name.endswith("_sum"):
                sums[subject] = sample.value
    return {subject: Buckets(each, sums.get(subject, 0.0)) for subject, each in counts.items()}


def _total(collector: Collector) -> float:
    """Over all labels."""
    return sum(
        sample.value
        for family in collector.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    )
