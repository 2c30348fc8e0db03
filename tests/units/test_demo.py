"""The built-in models: exact, the same every time, and a continuation goes on at the very character."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.providers import Delta, Prompt, Resume
from chatmesh.providers.demo import COUNT_DEFAULT, DEMO_TOKENS_PER_SECOND, Demo
from tests.protocol.values import HOSTILE, TEXTS
from tests.units.virtual import timeless

TEXT = TEXTS | st.sampled_from(HOSTILE)


async def answer(
    model: str, message: str = "", resume: Resume | None = None, **context: Any
) -> tuple[list[str], Delta]:
    """Its tokens, and the last delta."""
    prompt = Prompt(model, message, context)
    deltas = [delta async for delta in Demo().generate(prompt, resume or Resume())]
    *tokens, final = deltas
    assert all(delta.finish_reason is None for delta in tokens)
    return [delta.text for delta in tokens], final


@timeless
async def test_count_counts_to_a_hundred_one_number_a_chunk() -> None:
    tokens, final = await answer("count")
    assert tokens == [f"{number} " for number in range(1, COUNT_DEFAULT + 1)]
    assert tokens[:3] == ["1 ", "2 ", "3 "]
    assert final == Delta("", "stop")


@given(st.integers(1, 300))
@settings(deadline=None, max_examples=20)
@timeless
async def test_count_counts_up_to_max_tokens(most: int) -> None:
    tokens, final = await answer("count", max_tokens=most)
    assert tokens == [f"{number} " for number in range(1, most + 1)]
    assert final == Delta("", "stop")


@pytest.mark.parametrize("most", [None, 0, -1, "5", 2.5, True, [], {}])
@timeless
async def test_a_max_tokens_that_is_none_counts_to_the_default(most: object) -> None:
    tokens, _ = await answer("count", max_tokens=most)
    assert len(tokens) == COUNT_DEFAULT


@given(TEXT)
@settings(deadline=None, max_examples=200)
@timeless
async def test_echo_says_the_message_and_nothing_else(message: str) -> None:
    tokens, final = await answer("echo", message)
    assert "".join(tokens) == message
    assert all(tokens)
    assert final == Delta("", "stop")


@timeless
async def test_echo_says_one_word_a_chunk() -> None:
    assert (await answer("echo", " one  two\nthree"))[0] == [" ", "one  ", "two\n", "three"]


@timeless
async def test_echo_ends_for_length_where_max_tokens_cuts_it() -> None:
    assert await answer("echo", "a b c", max_tokens=2) == (["a ", "b "], Delta("", "length"))
    assert await answer("echo", "a b c", max_tokens=3) == (["a ", "b ", "c"], Delta("", "stop"))


@timeless
async def test_demo_says_what_chatmesh_is_and_the_users_own_words() -> None:
    tokens, final = await answer("demo", "Grüße, Welt!")
    assert "chatmesh" in "".join(tokens)
    assert "".join(tokens).endswith("Grüße, Welt!")
    assert final == Delta("", "stop")


@given(
    model=st.sampled_from(["count", "echo", "demo"]),
    message=TEXT,
    most=st.none() | st.integers(1, 30),
    cut=st.integers(0, 200),
)
@settings(deadline=None)
@timeless
async def test_a_continuation_is_exactly_the_rest(
    model: str, message: str, most: int | None, cut: int
) -> None:
    whole, final = await answer(model, message, max_tokens=most)
    assert await answer(model, message, max_tokens=most) == (whole, final)
    told = whole[: cut % (len(whole) + 1)]
    resume = Resume("".join(told), len(told))
    assert await answer(model, message, resume, max_tokens=most) == (whole[len(told) :], final)


@timeless
async def test_every_cut_of_an_answer_goes_on_without_a_seam() -> None:
    whole, final = await answer("count", max_tokens=30)
    for at in range(len(whole) + 1):
        resume = Resume("".join(whole[:at]), at)
        assert await answer("count", "", resume, max_tokens=30) == (whole[at:], final)


@given(size=st.integers(1, 40), cut=st.integers(0, 80))
@settings(deadline=None, max_examples=50)
@timeless
async def test_a_word_that_took_several_chunks_goes_on_inside_it(size: int, cut: int) -> None:
    """A word larger than a message may be is split by the encoder, so chunks shown are not tokens said."""
    message = "start " + "x" * 60 + " end"
    shown = message[: cut % len(message)]
    chunks = -(-len(shown) // size)
    tokens, _ = await answer("echo", message, Resume(shown, chunks))
    assert shown + "".join(tokens) == message


# --- pace ---------------------------------------------------------------------------------------------------------------


async def seconds(provider: Demo, prompt: Prompt) -> float:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async for _ in provider.generate(prompt, Resume()):
        pass
    return loop.time() - begin


@pytest.mark.parametrize(
    ("configured", "context", "expected"),
    [
        pytest.param(0.0, {}, 0.0, id="unlimited by default"),
        pytest.param(10.0, {}, 9.9, id="as configured"),
        pytest.param(10.0, {"tokens_per_second": 50}, 1.98, id="the context wins"),
        pytest.param(10.0, {"tokens_per_second": 0}, 0.0, id="the context asks for no limit"),
        pytest.param(10.0, {"tokens_per_second": "fast"}, 9.9, id="what is no number does not count"),
        pytest.param(10.0, {"tokens_per_second": True}, 9.9, id="nor does a flag"),
        pytest.param(10.0, {"tokens_per_second": -5}, 9.9, id="nor a negative pace"),
        pytest.param(10.0, {"tokens_per_second": None}, 9.9, id="nor null"),
    ],
)
@timeless
async def test_count_and_echo_keep_the_pace_that_was_asked_for(
    configured: float, context: dict[str, Any], expected: float
) -> None:
    provider = Demo(configured)
    assert await seconds(provider, Prompt("count", "", context)) == pytest.approx(expected)
    assert await seconds(provider, Prompt("echo", "x " * 100, context)) == pytest.approx(expected)


@timeless
async def test_demo_talks_at_a_readable_pace_whatever_is_configured() -> None:
    prompt = Prompt("demo", "hi", {"tokens_per_second": 0})
    tokens, _ = await answer("demo", "hi")
    expected = (len(tokens) - 1) / DEMO_TOKENS_PER_SECOND
    assert await seconds(Demo(0), prompt) == pytest.approx(expected)


@timeless
async def test_a_closed_answer_stops_at_once() -> None:
    answering = Demo(1.0).generate(Prompt("count", "", {}), Resume())
    assert await anext(answering) == Delta("1 ")
    await answering.aclose()
    assert asyncio.get_running_loop().time() == 0.0
