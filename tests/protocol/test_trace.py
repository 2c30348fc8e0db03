"""`traceparent` is taken in its one exact shape, or not at all."""

from __future__ import annotations

import json

import pytest

from chatmesh.protocol import trace
from chatmesh.protocol.tokens import Token

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
S, M = Token("s"), Token("m")


def test_one_that_is_right_goes_on_as_it_stands() -> None:
    assert trace.parse([GOOD]) == GOOD
    assert trace.trace_id(GOOD) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        [GOOD, GOOD],
        [GOOD.upper()],
        [GOOD + "\n"],
        [GOOD + "\r\nNats-Rollup: all"],
        [" " + GOOD],
        [GOOD + "-more"],
        [GOOD[:-1]],
        ["01" + GOOD[2:]],
        ["ff" + GOOD[2:]],
        [GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)],
        [GOOD.replace("00f067aa0ba902b7", "0" * 16)],
        [GOOD.replace("4bf9", "4bg9")],
        [GOOD.replace("4", "\u0664")],
        [GOOD.replace("-", "_")],
    ],
)
def test_anything_else_is_ignored(values: list[str]) -> None:
    assert trace.parse(values) is None


def test_fresh_ones_are_valid_and_differ() -> None:
    made = {trace.fresh() for _ in range(100)}
    assert len(made) == 100
    assert all(trace.parse([one]) for one in made)


def envelope(trace_id: object, span_id: object) -> bytes:
    return json.dumps({"trace_id": trace_id, "span_id": span_id, "data": {}}).encode()


def test_headers_trace_comes_before_the_envelopes_and_that_before_one_of_its_ids() -> None:
    body = envelope("A" * 32, "b" * 16)
    assert trace.of_request({"traceparent": GOOD}, body, S, M) == GOOD
    assert trace.of_request({}, body, S, M) == f"00-{'a' * 32}-{'b' * 16}-00"
    assert trace.of_request({"traceparent": "nonsense"}, body, S, M) == f"00-{'a' * 32}-{'b' * 16}-00"
    made = trace.of_request({}, b"{}", S, M)
    assert trace.parse([made]) == made


def test_every_worker_makes_the_same_trace_of_a_request_without_one() -> None:
    assert trace.of_request({}, b"{}", S, M) == trace.of_request({}, b"{}", S, M)
    assert trace.of_request({}, b"{}", S, M) != trace.of_request({}, b"{}", S, Token("n"))


@pytest.mark.parametrize(
    "body",
    [
        envelope("a" * 31, "b" * 16),
        envelope("a" * 32, "b" * 17),
        envelope("0" * 32, "b" * 16),
        envelope("g" * 32, "b" * 16),
        envelope("abc-xyz", "span_1"),
        envelope(None, None),
        envelope(["a" * 32], "b" * 16),
        b'{"trace_id"',
        b'["trace_id"]',
        b"[" * 100_000 + b'"trace_id"',
    ],
)
def test_envelope_whose_ids_are_none_is_ignored(body: bytes) -> None:
    assert trace.of_request({}, body, S, M) == trace.of_request({}, b"{}", S, M)
