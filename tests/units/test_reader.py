"""One reader: each event once, in order, whichever way it comes; a slow one is let go and loses nothing."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.hub.reader import Reader
from chatmesh.hub.wires import Native
from chatmesh.protocol import sse
from chatmesh.protocol.positions import Position, Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from tests.protocol.sse_reader import Event, read
from tests.units.made import SESSION, chunk, record
from tests.units.sinks import FakeSink

SCOPE = Scope("e", SESSION)
THREE = record(5, chunk(0, "a"), chunk(1, "b"), chunk(2, "c"))
OTHER = record(6, chunk(0, "no", message="other"), message="other")
LAST = record(7, chunk(3, "", final="stop"))
STOPPED: set[Reader] = set()
"""Who has said that it is not live any more, of all tests."""


def reader_at(
    position: Position, sink: FakeSink | None = None, *, message: str | None = None, room: int = 1000
) -> tuple[Reader, FakeSink]:
    sink = sink or FakeSink()
    message_id = None if message is None else Token(message)
    reader = Reader(sink, Native(SCOPE), position, message_id=message_id, max_buffer_bytes=room)
    reader.is_live = True
    reader.on_stop = lambda: STOPPED.add(reader)
    return reader, sink


def push(reader: Reader, record: Record) -> None:
    reader.push(record, sse.events(record, SCOPE))


def seen(sink: FakeSink) -> list[Event]:
    return read(sink.stream).events


def texts(sink: FakeSink) -> list[str]:
    return [json.loads(event.data)["chunk"] for event in seen(sink)]


@given(st.integers(0, 3))
@settings(deadline=None, max_examples=4)
def test_a_record_seen_in_part_is_fed_from_there_on(index: int) -> None:
    reader, sink = reader_at(Position(5, index, 50))
    reader.feed(THREE)
    assert texts(sink) == ["a", "b", "c"][index:]
    assert (reader.offset, reader.index, reader.seq) == (5, 3, 50)


def test_a_reset_seen_already_is_not_shown_again() -> None:
    reader, sink = reader_at(Position(5, 1, 50))
    reader.feed(record(5, chunk(0, "a"), reset="worker_changed"))
    assert [event.type for event in seen(sink)] == ["message"]


def test_a_record_comes_once_whichever_way_it_comes() -> None:
    reader, sink = reader_at(Position(4))
    reader.feed(THREE)
    reader.feed(THREE)
    push(reader, THREE)
    reader.feed(record(4, chunk(9, "old")))
    assert texts(sink) == ["a", "b", "c"]


def test_what_is_pushed_carries_the_position_that_is_written() -> None:
    reader, sink = reader_at(Position(4))
    push(reader, THREE)
    assert SCOPE.read(seen(sink)[-1].id) == Position(reader.offset, reader.index, reader.seq)


def test_a_reader_of_one_message_sees_no_other_and_ends_with_its_final() -> None:
    reader, sink = reader_at(Position(4), message="m")
    for one in (THREE, OTHER, LAST):
        push(reader, one)
    assert texts(sink) == ["a", "b", "c", ""]
    assert reader.is_finished
    assert reader in STOPPED
    assert not reader.is_live


def test_a_replay_of_one_message_ends_with_its_final() -> None:
    reader, sink = reader_at(Position(4), message="m")
    for one in (THREE, OTHER):
        reader.feed(one)
        assert not reader.is_finished
    reader.feed(LAST)
    assert reader.is_finished
    assert texts(sink) == ["a", "b", "c", ""]


def test_a_reader_of_a_session_goes_on_behind_a_final() -> None:
    reader, _ = reader_at(Position(6))
    push(reader, LAST)
    assert not reader.is_finished
    assert reader.is_live


def test_a_reader_who_is_too_slow_is_let_go_where_it_stands() -> None:
    reader, sink = reader_at(Position(4), FakeSink(is_slow=True), room=700)
    push(reader, THREE)
    before = sink.stream
    push(reader, LAST)
    assert sink.stream == before
    assert not reader.is_live
    assert reader in STOPPED
    assert (reader.offset, reader.index) == (5, 3)
    assert not reader.is_finished


def test_a_slow_reader_loses_nothing_and_gets_nothing_twice() -> None:
    reader, sink = reader_at(Position(4), FakeSink(is_slow=True), room=700)
    for one in (THREE, OTHER, LAST):
        push(reader, one)
    sink.drink()
    for one in (THREE, OTHER, LAST):
        reader.feed(one)
    assert texts(sink) == ["a", "b", "c", "no", ""]


def test_one_event_larger_than_the_bound_still_reaches_an_idle_reader() -> None:
    reader, sink = reader_at(Position(4), FakeSink(is_slow=True), room=1)
    push(reader, THREE)
    assert texts(sink) == ["a", "b", "c"]
    assert reader.is_live


def test_what_a_reader_does_not_want_costs_a_slow_one_nothing() -> None:
    reader, _ = reader_at(Position(5), FakeSink(is_slow=True), message="m", room=1)
    reader.sink.write_nowait(b": full\n\n")
    push(reader, OTHER)
    assert reader.is_live
    assert reader.offset == 6


def test_a_client_that_left_is_let_go() -> None:
    reader, sink = reader_at(Position(4))
    sink.is_closed = True
    push(reader, THREE)
    assert not reader.is_live
    assert reader in STOPPED


def test_a_restart_voids_what_was_shown_and_begins_before_everything() -> None:
    reader, sink = reader_at(Position(5, 2, 50))
    reader.restart("position_unknown")
    (event,) = seen(sink)
    assert (event.type, json.loads(event.data)) == ("reset", {"reason": "position_unknown"})
    assert SCOPE.read(event.id) == Position(0, 0, 0)
    reader.feed(record(1, chunk(0, "from the start")))
    assert json.loads(seen(sink)[-1].data)["chunk"] == "from the start"
