"""What each call of a model took, whoever counted it and however it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.protocol.spend import Call, Price, Spend
from chatmesh.providers import Usage
from chatmesh.workflow.ledger import Ledger, Written, written
from tests.units.made import chunk, record

PRICE = Price(2.0, 10.0)


def said(ledger: Ledger, shown: int, trimmed: int = 0) -> None:
    for number in range(shown + trimmed):
        ledger.count(1, shown=int(number >= trimmed))


def numbers(ledger: Ledger) -> list[tuple[str, int, int, bool]]:
    """End, generated and delivered tokens, and whether we counted, of each call."""
    return [
        (call.end, call.generated_tokens, call.delivered_tokens, call.is_counted)
        for call in ledger.spend.calls
    ]


def test_whole_answer_takes_what_its_provider_counted() -> None:
    ledger = Ledger(1, user_id="u", price=lambda _model: PRICE)
    ledger.begin("m", 0)
    said(ledger, 3)
    ledger.learn(Usage(1000, 70))
    ledger.end("stop", by_itself=True)
    assert ledger.spend == Spend("u", (Call("m", 1, "stop", 1000, 70, 70, is_counted=False, cost=0.0027),))
    assert ledger.usage == Usage(1000, 70)


def test_answer_that_nobody_counted_takes_its_pieces_and_the_length_of_its_prompt() -> None:
    ledger = Ledger(1)
    ledger.prompt_tokens = 20
    ledger.begin("m", 40)
    said(ledger, 3)
    ledger.end("stop", by_itself=True)
    assert ledger.spend.calls == (Call("m", 1, "stop", 30, 3, 3),)
    assert ledger.usage is None


def test_call_that_was_stopped_takes_what_it_had_said_and_the_prompt_that_was_counted_before() -> None:
    ledger = Ledger(1)
    ledger.begin("m", 0)
    ledger.learn(Usage(1000, 1))
    said(ledger, 3)
    ledger.end("cancelled")
    assert ledger.spend.calls == (Call("m", 1, "cancelled", 1000, 3, 3),)
    assert ledger.usage is None, "half a count would be taken for the whole"


def test_repetition_that_was_trimmed_is_discarded_in_the_share_that_it_had() -> None:
    ledger = Ledger(2)
    ledger.begin("m", 10)
    said(ledger, shown=6, trimmed=2)
    ledger.learn(Usage(9, 80))
    ledger.end("stop", by_itself=True)
    assert numbers(ledger) == [("stop", 80, 60, False)]


def test_what_was_taken_back_is_discarded_whoever_had_said_it() -> None:
    ledger = Ledger(2, [Written(1, 7, "m", pieces=5, standing=5)])
    ledger.begin("m", 0)
    ledger.take_back()
    said(ledger, 4)
    ledger.end("stop", by_itself=True)
    assert numbers(ledger) == [("lost", 5, 0, True), ("stop", 4, 4, True)]


def test_thoughts_that_are_counted_and_not_shown_are_delivered() -> None:
    ledger = Ledger(1)
    ledger.begin("m", 0)
    ledger.learn(Usage(9, 30))
    ledger.end("stop", by_itself=True)
    assert numbers(ledger) == [("stop", 30, 30, False)]


def test_call_that_ends_twice_keeps_its_first_end() -> None:
    ledger = Ledger(1)
    ledger.begin("m", 0)
    ledger.end("provider_timeout")
    ledger.end("cancelled")
    assert numbers(ledger) == [("provider_timeout", 0, 0, True)]


def test_earlier_calls_end_as_their_successors_tell() -> None:
    earlier = [
        Written(1, 7, "m", 2, 2),
        Written(1, 7, "n", 3, 3),
        Written(1, 9, "n", 4, 4),
        Written(2, 11, "n", 5, 5),
    ]
    ends = [call.end for call in Ledger(2, earlier).spend.calls]
    assert ends == ["failed_over", "handed_over", "lost", "handed_over"]


def test_what_is_written_is_counted_by_claim_and_model_up_to_the_last_reset() -> None:
    def of(model: str, number: int, **more: Any) -> dict[str, Any]:
        return chunk(number) | {"metadata": {"model": model}} | more

    first = record(1, of("m", 0), of("m", 1, chunk_type="metadata"), token=5)
    second = record(2, of("n", 2), of("", 3, is_final=True), reset="restarted", token=5)
    third = record(3, {"chunk": "no chunk of ours"}, of("n", 4), attempt=2, token=8)
    assert written([first, second, third])[:2] == (Written(1, 5, "m", 2, 0), Written(1, 5, "n", 1, 1))
    assert written([first, second, third])[-1] == Written(2, 8, "n", 1, 1)


def test_spend_in_all_is_the_sum_of_its_calls() -> None:
    calls = (Call("m", 1, "lost", 10, 5, 2, cost=0.5), Call("n", 2, "stop", 20, 7, 7))
    assert Spend("u", calls).wire() == {
        "user_id": "u",
        "prompt_tokens": 30,
        "generated_tokens": 12,
        "delivered_tokens": 9,
        "discarded_tokens": 3,
        "cost": 0.5,
        "calls": [calls[0].wire(), calls[1].wire()],
    }


CALLS = st.builds(
    Call,
    st.text(),
    st.integers(0, 9),
    st.text(),
    *[st.integers(0, 10**9)] * 3,
    st.booleans(),
    st.none() | st.floats(0, 10**6),
)


@given(st.builds(Spend, st.text(), st.tuples(CALLS) | st.tuples(CALLS, CALLS)))
def test_spend_is_read_as_it_was_written(spend: Spend) -> None:
    assert Spend.parse(json.loads(json.dumps(spend.wire()))) == spend


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["calls", "cost"]), inner),
)


@given(JSON)
def test_what_is_no_spend_is_read_without_harm(body: Any) -> None:
    assert Spend.parse(Spend.parse(body).wire()) == Spend.parse(body)


@pytest.mark.parametrize(
    ("prompt", "said", "expected"), [(0, 0, 0.0), (1, 0, 2e-06), (500_000, 100_000, 2.0)]
)
def test_price_is_of_a_million_tokens(prompt: int, said: int, expected: float) -> None:
    assert PRICE.cost(prompt, said) == expected
