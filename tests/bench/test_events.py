"""What the benchmark's client got is taken apart the same, wherever the pieces were cut and however they were framed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.errors import ProtocolError
from chatmesh.operate.bench.load.events import Piece, told

EVENTS = [
    b": open\nid: e.0\nretry: 2000\n\n",
    b'id: e.1\ndata: {"chunk_id":0}\n\n',
    b":\n\n",
    b'id: e.2\ndata: {"chunk_id":1}\n\n',
    b'id: e.3\nevent: reset\ndata: {"reason":"gap"}\n\n',
]
TEXT = b"".join(EVENTS)
SEEN = [
    ("message", "e.1", {"chunk_id": 0}),
    ("message", "e.2", {"chunk_id": 1}),
    ("reset", "e.3", {"reason": "gap"}),
]
cuts = st.lists(st.integers(0, 400), max_size=12)


def pieces(data: bytes, at: list[int]) -> list[Piece]:
    """`data` cut there; the time of a piece is where it ends."""
    ends = sorted({min(each, len(data)) for each in at} | {len(data)})
    begins = [0, *ends[:-1]]
    return [(float(end), data[begin:end]) for begin, end in zip(begins, ends, strict=True)]


def framed(data: bytes, at: list[int]) -> bytes:
    """`data` as HTTP's chunked transfer, the frames cut there."""
    frames = [part for _, part in pieces(data, at) if part]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in frames)


@given(cuts)
def test_events_are_the_same_wherever_pieces_are_cut(at: list[int]) -> None:
    found = told(pieces(TEXT, at), is_chunked=False)
    assert [(event.name, event.position, event.body) for event in found] == SEEN


@given(cuts, cuts)
def test_events_are_the_same_however_they_are_framed(frames: list[int], at: list[int]) -> None:
    found = told(pieces(framed(TEXT, frames), at), is_chunked=True)
    assert [(event.name, event.position, event.body) for event in found] == SEEN


@given(cuts)
def test_an_event_came_when_the_piece_with_its_end_came(at: list[int]) -> None:
    cut = pieces(TEXT, at)
    for event in told(cut, is_chunked=False):
        end = TEXT.index(json.dumps(event.body, separators=(",", ":")).encode()) + len(
            json.dumps(event.body, separators=(",", ":")) + "\n\n"
        )
        assert event.at == min(piece_end for piece_end, _ in cut if piece_end >= end)


def test_a_framed_event_came_when_the_piece_with_its_end_came() -> None:
    framing = framed(TEXT, [len(EVENTS[0] + EVENTS[1])])
    first_frame = framing.index(b"\r\n:\n\n")
    found = told([(1.0, framing[:first_frame]), (2.0, framing[first_frame:])], is_chunked=True)
    assert [event.at for event in found] == [1.0, 2.0, 2.0]


def test_an_unfinished_event_is_none_yet() -> None:
    assert told([(1.0, TEXT[:-1])], is_chunked=False)[-1].position == "e.2"
    assert told([], is_chunked=True) == []


@pytest.mark.parametrize(
    ("data", "is_chunked"),
    [(b"data: {\n\n", False), (b"data: 7\n\n", False), (b"zz\r\ndata: {}\n\n\r\n", True)],
)
def test_what_is_no_event_stream_is_said_to_be_none(data: bytes, is_chunked: bool) -> None:
    with pytest.raises(ProtocolError):
        told([(1.0, data)], is_chunked=is_chunked)
