"""Events out of bytes: the same whatever the reads, and never more than the bound."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.errors import ProviderError
from chatmesh.providers.splitter import Event, Splitter, Whole


def split(*reads: bytes, **bounds: Any) -> list[Event]:
    splitter = Splitter(**bounds)
    return [event for read in reads for event in splitter.feed(read)] + splitter.end()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: a\n\n", [Event("", "a")]),
        ("data:a\n\n", [Event("", "a")]),
        ("data:  a\n\n", [Event("", " a")]),
        ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", [Event("", "a"), Event("", "b"), Event("", "c")]),
        ("data: a\ndata: b\n\n", [Event("", "a\nb")]),
        ("event: x\ndata: a\n\ndata: b\n\n", [Event("x", "a"), Event("", "b")]),
        ("event: x\n\ndata: b\n\n", [Event("", "b")]),
        (": comment\n\n:\n\ndata: a\n: more\n\n", [Event("", "a")]),
        ("id: 7\nretry: 5\ndata\n\n", [Event("", "")]),
        ("\ufeffdata: a\n\n", [Event("", "a")]),
        ("data: \u2028\x85\x0b\n\n", [Event("", "\u2028\x85\x0b")]),
        ("data: [DONE]", [Event("", "[DONE]")]),
        ("data: a\n", [Event("", "a")]),
        ("", []),
    ],
)
def test_a_stream_gives_these_events(text: str, expected: list[Event]) -> None:
    assert split(text.encode()) == expected


def test_bytes_that_are_no_text_become_marks_and_not_errors() -> None:
    assert split(b"data: \xff\n\n") == [Event("", "\ufffd")]


_LINES = st.sampled_from(["data: ä🙂", "data:", ": c", "event: x", "", "id: 1", "data: [DONE]"])
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(_LINES, _ENDS), max_size=12), st.lists(st.integers(0, 200), max_size=8))
def test_reads_may_be_cut_anywhere(lines: list[tuple[str, str]], cuts: list[int]) -> None:
    stream = "".join(line + end for line, end in lines).encode()
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[begin:end] for begin, end in pairwise(places)]
    assert split(*reads) == split(stream)
    assert split(*(bytes([byte]) for byte in stream)) == split(stream)


@pytest.mark.parametrize("line", [b"data: " + b"x" * 100, b"data: xxxxxxxx\n" * 10, b"x" * 100])
def test_an_event_past_the_bound_is_an_error(line: bytes) -> None:
    with pytest.raises(ProviderError, match="more than 64 bytes"):
        split(*(line[at : at + 7] for at in range(0, len(line), 7)), max_bytes=64)


def test_many_small_events_and_comments_are_no_large_one() -> None:
    assert len(split(b"data: x\n\n" * 100 + b": alive\n" * 100, max_bytes=64)) == 100
    with pytest.raises(ProviderError):
        Whole(max_bytes=64).feed(b"x" * 65)


def test_a_long_line_in_small_reads_costs_no_more_than_its_length() -> None:
    # Joining at every read would copy 4 MiB 65,536 times, which takes minutes.
    reads = [b"data: ", *[b"x" * 64] * 65_000, b"\n\n"]
    (event,) = split(*reads)
    assert len(event.data) == 65_000 * 64
