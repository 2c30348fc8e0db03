"""Batches: every chunk once and in order, within both bounds, and none waits that must not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.relay.batching import TICKS, Buffer, Draft, flush_at

CHUNKS = st.lists(st.integers(0, 40).map(lambda size: b"x" * size), max_size=40)
BOUNDS = {"max_chunks": st.integers(1, 6), "max_bytes": st.integers(1, 60)}


def size(batch: list[bytes]) -> int:
    """As it stands in a record: with a comma each."""
    return sum(len(chunk) + 1 for chunk in batch)


def all_batches(buffer: Buffer) -> list[list[bytes]]:
    batches = []
    while len(buffer):
        batches.append(buffer.take())
    return batches


def encode(drafts: Sequence[Draft]) -> list[bytes]:
    return [text.encode() for text, _ in drafts]


def filled(chunks: list[bytes], max_chunks: int = 100, max_bytes: int = 10_000) -> Buffer:
    buffer = Buffer(max_chunks, max_bytes)
    for chunk in chunks:
        buffer.add(chunk)
    return buffer


@given(chunks=CHUNKS, **BOUNDS)
@settings(deadline=None)
def test_batches_are_the_chunks_in_order(chunks: list[bytes], max_chunks: int, max_bytes: int) -> None:
    numbered = [b"%d:%b" % (number, chunk) for number, chunk in enumerate(chunks)]
    batches = all_batches(filled(numbered, max_chunks, max_bytes))
    assert [chunk for batch in batches for chunk in batch] == numbered
    assert all(batches)


@given(chunks=CHUNKS, **BOUNDS)
@settings(deadline=None)
def test_no_batch_passes_its_bounds_but_a_single_chunk(
    chunks: list[bytes], max_chunks: int, max_bytes: int
) -> None:
    for batch in all_batches(filled(chunks, max_chunks, max_bytes)):
        assert len(batch) <= max_chunks
        assert size(batch) <= max_bytes or len(batch) == 1


@given(chunks=CHUNKS, **BOUNDS)
@settings(deadline=None)
def test_a_batch_is_as_large_as_it_may_be(chunks: list[bytes], max_chunks: int, max_bytes: int) -> None:
    batches = all_batches(filled(chunks, max_chunks, max_bytes))
    for batch, following in pairwise(batches):
        assert len(batch) == max_chunks or size([*batch, following[0]]) > max_bytes


@given(
    steps=st.lists(st.sampled_from(["chunk", "urgent", "draft", "settle", "expire", "take"]), max_size=60),
    max_chunks=st.integers(1, 5),
)
@settings(deadline=None)
def test_a_buffer_is_due_exactly_while_something_must_not_wait(steps: list[str], max_chunks: int) -> None:
    buffer = Buffer(max_chunks, 10_000)
    buffer.encode = encode
    waiting: list[bool] = []  # whether each must not wait
    has_expired = False
    for step in steps:
        match step:
            case "take" if waiting:
                buffer.take()
                waiting = waiting[max_chunks:]
                has_expired = has_expired and bool(waiting)
            case "expire":
                buffer.expire()
                has_expired = bool(waiting)
            case "draft":
                assert buffer.draft("x", 0.0) == len(waiting) + 1
                waiting.append(False)
            case "settle":
                buffer.settle()
            case "chunk" | "urgent":
                buffer.settle()
                assert buffer.add(b"x", urgent=step == "urgent") == len(waiting) + 1
                waiting.append(step == "urgent")
        assert buffer.is_due == (any(waiting) or has_expired or len(waiting) >= max_chunks)
        assert len(buffer) == len(waiting)


@given(
    said=st.lists(st.tuples(st.booleans(), st.text(max_size=12)), max_size=40),
    take=st.sets(st.integers(0, 40)),
    **BOUNDS,
)
@settings(deadline=None)
def test_drafts_and_chunks_leave_in_their_order_and_within_both_bounds(
    said: list[tuple[bool, str]], take: set[int], max_chunks: int, max_bytes: int
) -> None:
    buffer, batches = Buffer(max_chunks, max_bytes), []
    buffer.encode = encode
    for number, (is_draft, text) in enumerate(said):
        if is_draft:
            buffer.draft(text, 0.0)
        else:
            buffer.settle()
            buffer.add(text.encode())
        if number in take:
            batches.append(buffer.take())
    batches += all_batches(buffer)
    assert [chunk for batch in batches for chunk in batch] == [text.encode() for _, text in said]
    for batch in batches:
        assert len(batch) <= max_chunks
        assert size(batch) <= max_bytes or len(batch) == 1


def test_a_draft_that_becomes_several_chunks_fills_batches_like_any_others() -> None:
    buffer = Buffer(2, 1000)
    buffer.encode = lambda drafts: [letter.encode() for text, _ in drafts for letter in text]
    buffer.draft("abc", 0.0)
    buffer.expire()
    assert all_batches(buffer) == [[b"a", b"b"], [b"c"]]
    assert not buffer.is_due


def test_nothing_that_was_numbered_before_a_draft_is_put_behind_it() -> None:
    buffer = Buffer(100, 1000)
    buffer.draft("a", 0.0)
    with pytest.raises(ValueError, match="before the drafts"):
        buffer.add(b"b")


def test_large_drafts_make_a_batch_due_as_they_would_as_chunks() -> None:
    buffer = Buffer(100, 100)
    buffer.draft("x" * 20, 0.0)
    assert buffer.is_due


def test_an_urgent_chunk_takes_what_lies_before_it_along() -> None:
    buffer = filled([b"a", b"b"])
    assert not buffer.is_due
    buffer.add(b"c", urgent=True)
    assert buffer.is_due
    assert buffer.take() == [b"a", b"b", b"c"]
    assert not buffer.is_due


def test_an_urgent_chunk_behind_a_full_batch_does_not_wait_for_a_timer() -> None:
    buffer = filled([b"a", b"b"], max_chunks=2)
    buffer.add(b"c", urgent=True)
    assert buffer.take() == [b"a", b"b"]
    assert buffer.is_due
    assert buffer.take() == [b"c"]


def test_what_comes_behind_an_urgent_chunk_waits() -> None:
    buffer = filled([])
    buffer.add(b"a", urgent=True)
    buffer.take()
    buffer.add(b"b")
    assert not buffer.is_due


def test_the_bytes_of_a_full_batch_make_it_due() -> None:
    buffer = Buffer(100, 10)
    buffer.add(b"1234")
    assert not buffer.is_due
    buffer.add(b"1234")
    assert buffer.is_due


def test_a_chunk_larger_than_any_batch_goes_alone() -> None:
    buffer = filled([b"a", b"x" * 50, b"b"], max_bytes=10)
    assert all_batches(buffer) == [[b"a"], [b"x" * 50], [b"b"]]


def test_a_timer_that_finds_nothing_does_not_hurry_the_next_chunk() -> None:
    buffer = Buffer(100, 100)
    buffer.expire()
    buffer.add(b"a")
    assert not buffer.is_due


def test_a_timer_lets_all_go_that_waited_with_it() -> None:
    buffer = filled([b"a", b"b", b"c"], max_chunks=2)
    buffer.expire()
    buffer.take()
    assert buffer.is_due
    buffer.take()
    assert not buffer.is_due


@given(st.floats(0, 10**6), st.sampled_from([0.001, 0.05, 0.5, 60.0]))
@settings(deadline=None)
def test_a_batch_leaves_at_a_tick_that_all_answers_share_and_never_late(now: float, flush: float) -> None:
    at = flush_at(now, flush)
    assert now + flush * (1 - 1 / TICKS) - 1e-6 <= at <= now + flush + 1e-6
    assert at / (flush / TICKS) == pytest.approx(round(at / (flush / TICKS)))
