"""What a continuation repeats of the shown text is not shown again, and nothing else is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.providers.overlap import MAX_OVERLAP, MIN_OVERLAP, Overlap


def said(shown: str, *pieces: str) -> str:
    overlap = Overlap(shown)
    return "".join([*map(overlap.feed, pieces), overlap.end()])


@pytest.mark.parametrize(
    ("shown", "pieces", "expected"),
    [
        pytest.param("one two three", [" four"], " four", id="no repetition"),
        pytest.param("one two three", ["two three four"], " four", id="the end repeated"),
        pytest.param("one two three", ["two", " th", "ree four"], " four", id="over several pieces"),
        pytest.param("one two three", ["one two three four"], " four", id="all of it"),
        pytest.param("one two three", ["three blind mice"], "three blind mice", id="a short one is chance"),
        pytest.param("Hi", ["Hi there"], " there", id="all of a short text"),
        pytest.param("one two three", ["two three"], "", id="nothing but a repetition"),
        pytest.param("one two three", ["two thre"], "two thre", id="a repetition that breaks off"),
        pytest.param("", ["one two"], "one two", id="nothing was shown"),
        pytest.param("abab abab abab", ["abab abab abab!"], "!", id="the longest one counts"),
    ],
)
def test_a_repeated_end_is_trimmed_once(shown: str, pieces: list[str], expected: str) -> None:
    assert said(shown, *pieces) == expected


@given(st.text("ab ", max_size=60), st.text("ab ", max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_result_does_not_depend_on_the_pieces(shown: str, text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    pieces = [text[begin:end] for begin, end in pairwise(edges)]
    assert said(shown, *pieces) == said(shown, text)


@given(st.text(min_size=MIN_OVERLAP, max_size=MAX_OVERLAP), st.text(max_size=50))
def test_nothing_but_a_true_end_of_the_shown_text_is_taken_off(shown: str, text: str) -> None:
    rest = said(shown, text)
    assert text.endswith(rest)
    assert shown.endswith(text[: len(text) - len(rest)])


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=50))
def test_all_of_the_text_comes_back_where_the_model_begins_with_all_of_it(shown: str, more: str) -> None:
    assert said(shown, shown + more) == more
