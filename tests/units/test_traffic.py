"""Sizes and lags of messages, counted in few labels and without a lock."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from chatmesh.protocol import headers, subjects
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry.traffic import MOST_LAG_SECONDS, Sizes, Spans, microseconds, observe_lag

A, B = Token("a"), Token("b")


def test_sizes_are_a_prometheus_histogram() -> None:
    registry = CollectorRegistry()
    sizes = Sizes("size_bytes", "Sizes.", "subject", registry)
    for size in (0, 1, 64, 65, 1024, 1025, 100_000_000):
        sizes.observe("x", size)

    def below(bound: str) -> float | None:
        return registry.get_sample_value("size_bytes_bucket", {"subject": "x", "le": bound})

    assert [below(bound) for bound in ("64", "128", "1024", "2048", "8388608", "+Inf")] == [3, 4, 5, 6, 6, 7]
    assert registry.get_sample_value("size_bytes_count", {"subject": "x"}) == 7
    assert registry.get_sample_value("size_bytes_sum", {"subject": "x"}) == 100_002_179
    assert b"# TYPE size_bytes histogram" in generate_latest(registry)


def test_spans_are_counted_one_by_one_or_many_at_once() -> None:
    registry = CollectorRegistry()
    spans = Spans("span_seconds", "Spans.", "model", registry)
    for seconds in (-1.0, 0.0, 100e-6, 0.001, 1.0, 3600.0):
        spans.observe("one", seconds)
    counts = [0] * 49
    for seconds in (0.0, 100e-6, 0.001, 1.0, 3600.0):
        counts[microseconds(seconds).bit_length()] += 1
    spans.observe_all("many", counts, microseconds(3601.0011))

    def below(model: str, bound: str) -> float | None:
        return registry.get_sample_value("span_seconds_bucket", {"model": model, "le": bound})

    assert [below("one", bound) for bound in ("0.000128", "0.001024", "1.04858", "67.1089", "+Inf")] == [
        3,
        4,
        5,
        5,
        6,
    ]
    assert [below("many", bound) for bound in ("0.000128", "0.001024", "1.04858", "67.1089", "+Inf")] == [
        2,
        3,
        4,
        4,
        5,
    ]
    total = registry.get_sample_value("span_seconds_sum", {"model": "many"})
    assert total == pytest.approx(3601.0011)


@pytest.mark.parametrize(
    ("subject", "pattern"),
    [
        (subjects.execute(A), "chat.workflow.execute.*"),
        (subjects.response(A), "chat.pod.*.response"),
        (subjects.broadcast(A), "chat.session.*.broadcast"),
        (subjects.pod_health(A), "chat.pod.*.health"),
        (subjects.worker_health(A), "chat.worker.*.health"),
        (subjects.pod_heartbeat(A), "chat.pod.*.heartbeat"),
        (subjects.worker_heartbeat(A), "chat.worker.*.heartbeat"),
        (subjects.claim(A), "chat.session.*.claim"),
        (subjects.stop(A, B), "chat.session.*.stop.*"),
        (subjects.erased(A), "chat.session.*.erased"),
        (subjects.transcript(A, B), "chat.session.*.transcript.*"),
        (subjects.registry(A, B), "chat.registry.*.*"),
        (subjects.dead_letter(A), "chat.dead.*"),
        ("$JS.ACK.WORKFLOW_REQUESTS.workflow-processor.1.2.3.4.5", "$JS.>"),
        ("_INBOX.pod-1.x.y", "_INBOX.>"),
        ("somebody.elses.inbox", "other"),
        ("chat.session.a.secret", "other"),
        ("chat.session", "other"),
        ("chat", "other"),
        ("", "other"),
    ],
)
def test_pattern_of_a_subject_has_no_id(subject: str, pattern: str) -> None:
    assert subjects.pattern(subject) == pattern


@pytest.mark.parametrize(("ago", "lag"), [(0.25, 0.25), (-100.0, 0.0), (1e6, MOST_LAG_SECONDS)])
def test_lag_by_a_clock_that_is_wrong_is_none_or_a_minute(
    monkeypatch: pytest.MonkeyPatch, ago: float, lag: float
) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("lag_seconds", "Lag.", registry=registry)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    observe_lag(histogram, 2_000_000_000.0 - ago)
    assert registry.get_sample_value("lag_seconds_sum") == pytest.approx(lag)


@pytest.mark.parametrize(
    "text", ["", "1", "x" * 13, "1" * 14, "-111111111111", "1e11111111111", "\u0661" * 13]
)
def test_time_of_sending_that_is_none_is_ignored(text: str) -> None:
    assert headers.sent_at({headers.SENT: text}) is None
    assert headers.sent_at({headers.SENT: "1700000000123"}) == 1_700_000_000.123
