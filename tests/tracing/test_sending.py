"""What becomes of spans between whoever makes them and a real collector: bounds, counts, sampling."""

from __future__ import annotations

import secrets

from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from prometheus_client import REGISTRY

from chatmesh.protocol import trace
from chatmesh.telemetry.otlp import QUEUE, Collector, OtlpSpans
from chatmesh.telemetry.tracing import NO_TRACING, Ended, Kind, Recording
from tests.support.collector import collecting

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("chatmesh_trace_spans_dropped_total", {"reason": reason}) or 0.0


async def test_spans_that_find_the_queue_full_are_dropped_and_counted_and_no_other() -> None:
    async with collecting() as collector:
        collector.is_open.clear()
        spans = OtlpSpans(Collector(collector.url, "s", "i", "v"), 1)
        spans.open()
        before = dropped("queue_full")
        for number in range(QUEUE + 10):
            spans.tracing.begin("attempt", GIVEN, {"attempt": number}).end()
        assert dropped("queue_full") - before == 10
        collector.is_open.set()
        await spans.close(20)
        assert sorted(span.attributes["attempt"] for span in collector.spans) == list(range(QUEUE))


async def test_spans_that_the_deadline_leaves_are_counted() -> None:
    async with collecting() as collector:
        collector.is_open.clear()
        spans = OtlpSpans(Collector(collector.url, "s", "i", "v"), 1)
        spans.open()
        before = dropped("shutdown")
        spans.tracing.begin("attempt", GIVEN, {}).end()
        await spans.close(0.1)
        assert dropped("shutdown") - before == 1


async def test_span_outside_of_the_process_life_is_dropped_and_counted() -> None:
    spans = OtlpSpans(Collector("http://127.0.0.1:1/v1/traces", "s", "i", "v"), 1)
    before = dropped("queue_full")
    spans.tracing.begin("attempt", GIVEN, {}).end()
    await spans.close(1)
    assert dropped("queue_full") - before == 1


def test_traces_are_chosen_as_opentelemetry_chooses_them() -> None:
    tracing, theirs = Recording(lambda _span: None, 0.3), TraceIdRatioBased(0.3)
    traces = [trace.fresh() for _ in range(500)]
    chosen = [trace.is_sampled(tracing.decide(each)) for each in traces]
    expected = [
        theirs.should_sample(None, int(trace.trace_id(each), 16), "x").decision is Decision.RECORD_AND_SAMPLE
        for each in traces
    ]
    assert chosen == expected
    assert any(chosen)
    assert not all(chosen)


def test_what_is_not_recorded_hands_on_what_it_got() -> None:
    taken: list[Ended] = []
    unsampled = GIVEN[:-1] + "0"
    for tracing, given in ((NO_TRACING, GIVEN), (Recording(taken.append, 1), unsampled)):
        with tracing.begin("a", given, {}) as span, span.child("b", {}) as below:
            assert span.traceparent == below.traceparent == given
            assert not below.is_recorded
    assert not taken


def test_span_has_one_end_and_keeps_the_other_flags() -> None:
    taken: list[Ended] = []
    given = GIVEN[:-2] + "03"
    span = Recording(taken.append, 0).begin("a", given, {"x": 1}, Kind.CLIENT, at=100.0)
    span.end(99.0)
    span.end()
    (ended,) = taken
    assert (ended.began, ended.ended) == (100.0, 100.0)
    assert ended.parent_id == trace.span_id(given)
    assert ended.traceparent == trace.below(given, trace.span_id(ended.traceparent))
    assert ended.traceparent.endswith("-03")


def test_foreign_text_is_of_no_trace() -> None:
    for text in ("", "00", "-01", "x" * 55, GIVEN + "-more", secrets.token_hex(20)):
        assert not trace.is_sampled(text)
