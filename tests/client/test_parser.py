"""Bytes become the same events as in a browser, however the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.client import Event, EventParser, events
from chatmesh.errors import ProtocolError
from tests.protocol.sse_reader import _by_the_standard

NAMES = st.sampled_from(["data", "event", "id", "retry", "", "dat", "x"])
VALUES = st.one_of(
    st.sampled_from(["", " ", "7", "\0", "a:b", "\u2028", "é 🙂", "\ufeff"]),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=5),
)
LINES = st.one_of(
    st.just(""),
    st.builds("{}:{}".format, NAMES, VALUES),
    st.builds("{}: {}".format, NAMES, VALUES),
    NAMES,
)
STREAMS = st.builds(
    lambda bom, lines: (bom + "".join(line + end for line, end in lines)).encode(),
    st.sampled_from(["", "\ufeff"]),
    st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=12),
)


@given(STREAMS, st.data())
@settings(deadline=None, max_examples=300)
def test_events_are_those_of_the_standard_however_the_bytes_are_cut(
    stream: bytes, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser = EventParser()
    found: list[Event] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += parser.feed(stream[begin:end])
    # A CR at the very end may be half of a line end: nothing follows here, so it is one.
    found += parser.feed(b"\n" if stream.endswith(b"\r") else b"")
    seen = _by_the_standard(stream)
    assert [(event.name, event.data, event.id) for event in found] == [
        (event.type, event.data, event.id) for event in seen.events
    ]
    assert parser.last_id == seen.last_id
    assert parser.retry_ms == seen.retry


def test_an_event_cut_at_every_single_byte_is_one_event() -> None:
    stream = 'id: p\r\nevent: reset\r\ndata: {"é": "🙂"}\r\n\r\n'.encode()
    for at in range(len(stream)):
        parser = EventParser()
        found = [*parser.feed(stream[:at]), *parser.feed(stream[at:]), *parser.feed(b"\r\n")]
        assert found == [Event("reset", '{"é": "🙂"}', "p")]


def test_an_opening_block_has_a_position_and_no_event() -> None:
    parser = EventParser("before")
    assert parser.feed(b": open\nid: here\nretry: 1234\n\n") == []
    assert (parser.last_id, parser.retry_ms) == ("here", 1234)


def test_an_event_that_never_ends_is_refused_before_it_takes_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 100)
    with pytest.raises(ProtocolError):
        EventParser().feed(b"data: " + b"x" * 200)
    parser = EventParser()
    for _ in range(10):
        assert not parser.feed(b"data: 0123456789\n")
    with pytest.raises(ProtocolError):
        parser.feed(b"data: 0123456789\n")
