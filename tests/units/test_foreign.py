"""Chunks of somebody else's worker: in order, each once, a hole waited for and then given up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.hub.foreign import HOLE_SECONDS, MAX_HELD, ForeignOrder
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.tokens import Token


def chunk(number: int, *, final: bool = False) -> ResponseChunk:
    return ResponseChunk(Token("s"), Token("m"), number, str(number), is_final=final)


def ids(chunks: list[ResponseChunk]) -> list[int]:
    return [one.chunk_id for one in chunks]


@given(base=st.integers(0, 50), rest=st.permutations(list(range(1, 12))), data=st.data())
@settings(deadline=None, max_examples=50)
def test_any_order_with_repetitions_is_shown_once_in_order(
    base: int, rest: list[int], data: st.DataObject
) -> None:
    order = ForeignOrder()
    shown: list[int] = []
    for number in [0, *rest]:
        for _ in range(data.draw(st.integers(1, 2))):
            shown += ids(order.add(chunk(base + number), 0.0))
    assert shown == list(range(base, base + 12))
    assert not order.is_waiting


def test_the_first_chunk_that_is_seen_is_the_base() -> None:
    order = ForeignOrder()
    assert ids(order.add(chunk(7), 0.0)) == [7]
    assert order.add(chunk(6), 0.0) == []


def test_a_hole_is_waited_for_a_second_at_most() -> None:
    order = ForeignOrder()
    order.add(chunk(0), 0.0)
    assert order.add(chunk(2), 5.0) == []
    assert order.expire(5.0 + HOLE_SECONDS / 2) == []
    assert ids(order.expire(5.0 + HOLE_SECONDS)) == [2]
    assert order.add(chunk(1), 7.0) == []


def test_nothing_is_shown_behind_a_final_chunk() -> None:
    order = ForeignOrder()
    order.add(chunk(2), 0.0)
    order.add(chunk(4), 0.0)
    assert ids(order.add(chunk(3, final=True), 0.0)) == [3]
    assert order.is_over
    assert not order.is_waiting
    assert order.add(chunk(5), 0.0) == []


def test_what_is_held_behind_a_hole_is_bounded() -> None:
    order = ForeignOrder()
    order.add(chunk(0), 0.0)
    for number in range(2, MAX_HELD + 2):
        assert order.add(chunk(number), 0.0) == []
    assert ids(order.add(chunk(MAX_HELD + 2), 0.0)) == list(range(2, MAX_HELD + 3))
