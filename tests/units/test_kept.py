"""Foreign chunks that wait for one reader: in order, within a bound, and shown to nobody who may not have them."""

from __future__ import annotations

import json

from chatmesh.hub.channel import Channel
from chatmesh.hub.kept import CHUNK_BYTES, MAX_KEPT_BYTES, Kept
from chatmesh.hub.reader import Reader
from chatmesh.hub.wires import Native
from chatmesh.protocol.callers import ANYBODY, Caller
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import START, Scope
from chatmesh.protocol.tokens import Token
from tests.protocol.sse_reader import read
from tests.units.made import SESSION
from tests.units.sinks import FakeSink

SCOPE = Scope("e", SESSION)
ROOM = 100


def chunk(number: int, message: str = "m") -> ResponseChunk:
    return ResponseChunk(SESSION, Token(message), number, str(number))


class Room:
    """A channel with one reader, who is on its way."""

    def __init__(self, *, is_slow: bool = False, caller: Caller | None = None) -> None:
        self.channel = Channel(SESSION, SCOPE, mend=lambda _: None, watch=lambda _: None)
        self.sink = FakeSink(is_slow=is_slow)
        self.reader = Reader(
            self.sink, Native(SCOPE), START, message_id=None, max_buffer_bytes=ROOM, caller=caller
        )
        self.reader.kept = Kept(None)
        self.channel.keep(self.reader.kept)

    def hear(self, *numbers: int) -> None:
        for number in numbers:
            self.channel.on_foreign(chunk(number), 0.0)

    def go_live(self) -> bool:
        return self.reader.show_kept() and self.channel.attach(self.reader, 0, 0)

    @property
    def shown(self) -> list[int]:
        return [json.loads(event.data)["chunk_id"] for event in read(self.sink.stream).events]


def test_what_came_before_it_was_live_is_shown_first_and_nothing_is_kept_then() -> None:
    room = Room()
    room.hear(0, 2, 1)
    assert room.shown == []
    assert room.go_live()
    room.hear(3)
    assert room.shown == [0, 1, 2, 3]
    assert room.reader.kept is None
    assert not room.channel.is_keeping


def test_a_slow_one_is_let_go_and_gets_the_rest_in_order_as_it_takes_it() -> None:
    room = Room(is_slow=True)
    assert room.go_live()
    room.hear(*range(10))
    assert not room.reader.is_live
    assert 0 < len(room.shown) < 10
    while not room.go_live():
        assert len(room.shown) < 10
        room.sink.drink()
    assert room.shown == list(range(10))


def test_one_for_whom_too_much_came_is_cut_without_a_hole() -> None:
    room = Room(is_slow=True)
    assert room.go_live()
    room.hear(*range(MAX_KEPT_BYTES // CHUNK_BYTES))
    shown = room.shown
    room.sink.drink()
    assert not room.go_live()
    assert room.sink.is_cut
    assert room.reader.is_finished
    assert room.shown == shown == list(range(len(shown)))


def test_one_chunk_always_fits_and_a_bound_that_was_passed_stays_so() -> None:
    kept = Kept(None)
    kept.add(chunk(0), 2 * MAX_KEPT_BYTES)
    assert len(kept) == 1
    kept.add(chunk(1), 1)
    kept.add(chunk(2), 1)
    assert (len(kept), kept.lost) == (0, 3)


def test_of_another_message_nothing_is_kept() -> None:
    kept = Kept(Token("m"))
    kept.add(chunk(0, "other"), 1)
    kept.add(chunk(1), 1)
    assert kept.take() == chunk(1)
    assert not kept


def test_where_callers_are_told_apart_only_what_was_there_when_the_card_was_read_is_shown() -> None:
    room = Room(caller=ANYBODY)
    room.hear(0, 1)
    assert not room.go_live()
    assert room.reader.is_asked
    room.hear(2)
    room.reader.pass_check(2)
    assert not room.go_live()
    assert room.shown == [0, 1]
    assert room.reader.is_asked
    room.reader.pass_check(1)
    assert room.go_live()
    assert room.shown == [0, 1, 2]


def test_one_who_is_to_be_checked_again_loses_nothing_that_comes_meanwhile() -> None:
    room = Room(caller=ANYBODY)
    assert room.go_live()
    room.hear(0, 1)
    assert not room.reader.is_live
    assert room.shown == []
    room.reader.pass_check(2)
    assert room.go_live()
    assert room.shown == [0, 1]
