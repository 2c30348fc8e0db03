"""The five key metrics as tiles: what they say of two readings, and when they want a look."""

from __future__ import annotations

import time
from math import inf
from typing import Any

import pytest

from chatmesh.console.gauges import Buckets, Gauges, Reading, level, read
from chatmesh.telemetry import metrics

EXECUTE, HEARTBEAT = "chat.workflow.execute.*", "chat.pod.*.heartbeat"


def reading(at: float, **more: Any) -> Reading:
    fields: dict[str, Any] = {
        "published": {},
        "lag": {},
        "errors": 0.0,
        "subscriptions": 7.0,
        "slow_readers": 0.0,
        "stalled": 0.0,
        "gap_fills": 0.0,
    }
    return Reading(at, **(fields | more))


def sizes(small: float, large: float) -> Buckets:
    return Buckets({1024.0: small, 65536.0: small + large, inf: small + large}, 500 * small + 40_000 * large)


def tiles(*readings: Reading) -> dict[str, dict[str, Any]]:
    gauges = Gauges()
    for each in readings:
        gauges.add(each)
    return {tile["name"]: tile for tile in gauges.tiles(max_payload=100_000)}


def test_first_look_knows_what_is_and_not_how_fast_it_goes() -> None:
    found = tiles(reading(0.0))
    assert (found["publish_rate"]["value"], found["publish_rate"]["level"]) == (None, "none")
    assert (found["errors"]["value"], found["delivery_lag"]["level"]) == (None, "none")
    assert found["subscriptions"]["value"] == 7


def test_rates_are_of_what_was_added_by_subject() -> None:
    before = reading(0.0, published={EXECUTE: sizes(100, 0)})
    after = reading(2.0, published={EXECUTE: sizes(110, 0), HEARTBEAT: sizes(2, 0)})
    found = tiles(before, after)["publish_rate"]
    assert found["value"] == 6.0
    assert found["parts"] == {EXECUTE: 5.0, HEARTBEAT: 1.0}


def test_sizes_have_a_mean_and_a_bound_of_nearly_all() -> None:
    found = tiles(reading(0.0), reading(1.0, published={EXECUTE: sizes(90, 10)}))["message_size"]
    assert (found["mean"], found["value"], found["level"]) == (4450.0, 65536.0, "look")


def test_errors_are_by_the_minute() -> None:
    found = tiles(reading(0.0), reading(30.0, errors=2.0))["errors"]
    assert (found["value"], found["level"]) == (4.0, "look")


def test_window_is_a_minute_long() -> None:
    readings = [reading(float(at), errors=float(at)) for at in range(0, 300, 20)]
    assert tiles(*readings)["errors"]["value"] == 60.0


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "none"), (0.0, "good"), (0.25, "look"), (0.99, "look"), (1.0, "bad")]
)
def test_levels_begin_at_their_thresholds(value: float | None, expected: str) -> None:
    assert level(value, (0.25, 1.0)) == expected


def test_metrics_of_the_process_are_read_as_they_are() -> None:
    before = read(time.monotonic())
    metrics.published_bytes.observe(EXECUTE, 2000)
    metrics.delivery_lag.labels(EXECUTE).observe(0.3)
    metrics.errors.labels("test", "kind").inc()
    metrics.slow_readers.inc()
    found = tiles(before, read(before.at + 1))
    assert found["publish_rate"]["parts"][EXECUTE] == 1.0
    assert found["message_size"]["value"] == 2048
    assert (found["delivery_lag"]["value"], found["delivery_lag"]["level"]) == (0.5, "look")
    assert found["errors"]["value"] == 60.0
    gauges = Gauges()
    gauges.add(before)
    gauges.add(read(before.at + 1))
    assert gauges.readers()["fell_behind"] == 1
