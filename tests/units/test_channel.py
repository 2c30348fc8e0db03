"""A channel: however live records come, every reader sees every event once, in order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.hub.channel import MAX_AHEAD, Channel
from chatmesh.hub.reader import Reader
from chatmesh.hub.wires import Native
from chatmesh.protocol.positions import START, Position, Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from tests.protocol.sse_reader import read
from tests.units.made import SESSION, chunk, record
from tests.units.sinks import FakeSink

SCOPE = Scope("e", SESSION)
MOST_CLIENTS = 4

ROOM = 1000
"""Bytes a reader may be behind: about four events."""

Seen = list[tuple[str, Any]]


def events_of(records: list[Record]) -> Seen:
    """Id and content of every event."""
    found: Seen = []
    for one in records:
        bodies: list[Any] = list(one.chunks)
        if one.reset is not None:
            bodies.insert(0, {"reason": one.reset, "message_id": one.message_id})
        found += [(SCOPE.write(one.offset, at, one.seq), body) for at, body in enumerate(bodies, 1)]
    return found


@dataclass(eq=False)
class Client:
    """A reader, what it must have seen, and the page it is reading just now."""

    reader: Reader
    sink: FakeSink
    begin: Position
    message: str | None
    page: list[Record] | None = None
    mark: tuple[int, int] = (0, 0)

    def expected(self, stored: list[Record]) -> Seen:
        wanted = [one for one in stored if self.message in (None, one.message_id)]
        if self.message is not None:
            ends = [at for at, one in enumerate(wanted) if one.final is not None]
            wanted = wanted[: ends[0] + 1] if ends else wanted
        return [
            (id, body)
            for id, body in events_of(wanted)
            if (at := SCOPE.read(id)) is not None
            and (at.offset, at.index) > (self.begin.offset, self.begin.index)
        ]

    def seen(self) -> Seen:
        return [(event.id, json.loads(event.data)) for event in read(self.sink.stream).events]


class Mesh:
    """A transcript, the live records on their way, a mender that looks when asked, and clients; each step is small."""

    def __init__(self) -> None:
        self.stored: list[Record] = []
        self.flying: list[Record] = []
        self.clients: list[Client] = []
        self.is_asked = False
        self.look: list[Record] = []
        self.channel = Channel(SESSION, SCOPE, mend=self._ask, watch=lambda _: None)

    def _ask(self, channel: Channel) -> None:
        self.is_asked = True

    def step(self, name: str, number: int) -> None:
        """`number` picks among what there is. A step that finds nothing to do does nothing."""
        match name:
            case "store" | "store, lost live":
                self.store(number, is_lost=name != "store")
            case "deliver" | "deliver, and again later" if self.flying:
                at = number % len(self.flying)
                self.channel.on_record(self.flying[at], 0.0)
                if name == "deliver":
                    del self.flying[at]
            case "look" if self.is_asked and not self.look:
                self.is_asked = False
                self.look = self.behind_the_channel()
            case "mend":
                self.mend()
            case "come" | "come, slow" if len(self.clients) < MOST_CLIENTS:
                self.come(number, is_slow=name != "come")
            case "read" if self.behind:
                self.read(self.behind[number % len(self.behind)])
            case "go live" if self.behind:
                self.go_live(self.behind[number % len(self.behind)])
            case "drink" if self.clients:
                self.clients[number % len(self.clients)].sink.drink()
            case "leave" if len(self.clients) == MOST_CLIENTS:
                client = self.clients.pop(number % len(self.clients))
                client.sink.is_closed = True
                self.channel.detach(client.reader)

    def store(self, number: int, *, is_lost: bool) -> None:
        offset = len(self.stored) + 1
        message, is_final = "mn"[number % 2], number == 0
        if any(one.message_id == message and one.final is not None for one in self.stored):
            message, is_final = f"later{offset}", True
        chunks = [chunk(at, f"{offset}.{at}", message=message) for at in range(1 + number % 3)]
        if is_final:
            chunks.append(chunk(3, "", message=message, final="stop"))
        one = record(offset, *chunks, message=message, reset="again" if number % 5 == 0 else None)
        self.stored.append(one)
        if not is_lost:
            self.flying.append(one)

    def behind_the_channel(self) -> list[Record]:
        return [one for one in self.stored if one.seq > self.channel.last_seq]

    def mend(self) -> None:
        for one in self.look:
            self.channel.on_record(one, 0.0)
        self.look = []

    def come(self, number: int, *, is_slow: bool) -> None:
        """From the start, from behind a record, or from inside one; for a session or for one message."""
        begin = START
        if self.stored and number % 3:
            one = self.stored[number % len(self.stored)]
            begin = Position(one.offset, one.events - number % 2, one.seq)
        message = (None, None, "m", "n")[number % 4]
        sink = FakeSink(is_slow=is_slow)
        message_id = None if message is None else Token(message)
        reader = Reader(sink, Native(SCOPE), begin, message_id=message_id, max_buffer_bytes=ROOM)
        self.clients.append(Client(reader, sink, begin, message))

    @property
    def behind(self) -> list[Client]:
        return [one for one in self.clients if not (one.reader.is_live or one.reader.is_finished)]

    def read(self, client: Client) -> None:
        # Marked before the page is read: what was heard of by then is in it.
        client.mark = (self.channel.heard, self.channel.heard_seq)
        client.page = [
            one
            for one in self.stored
            if one.seq >= client.reader.seq and client.message in (None, one.message_id)
        ]

    def go_live(self, client: Client) -> None:
        """What the stream does with the page that it has read, and only then."""
        if client.page is None:
            return
        reader = client.reader
        page, client.page = client.page, None
        if not all(reader.feed(one) for one in page):
            return
        is_marked = client.message is not None and client.mark[0] > reader.offset
        read_to, read_seq = client.mark if is_marked else (reader.offset, reader.seq)
        self.channel.attach(reader, read_to, read_seq)

    def settle(self) -> None:
        """In the end: who is behind reads, and the mender looks once more, as after any loss."""
        for _ in range(2 + 2 * len(self.stored)):
            for client in self.clients:
                client.sink.drink()
            self.mend()
            self.look = self.behind_the_channel()
            for client in self.behind:
                self.read(client)
                self.go_live(client)

    def check(self) -> None:
        for client in self.clients:
            seen = client.seen()
            assert seen == client.expected(self.stored)[: len(seen)]
        assert {one.reader for one in self.clients if one.reader.is_live} == self.channel.live


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("store", "store", "store, lost live", "deliver", "deliver", "deliver, and again later"),
                *(
                    "look",
                    "mend",
                    "come",
                    "come, slow",
                    "read",
                    "read",
                    "go live",
                    "go live",
                    "drink",
                    "leave",
                ),
            ]
        ),
        st.integers(0, 11),
    ),
    min_size=60,
    max_size=120,
)


@given(STEPS)
@settings(deadline=None, max_examples=150)
def test_every_reader_sees_every_event_once_in_order_whatever_comes_when(
    steps: list[tuple[str, int]],
) -> None:
    mesh = Mesh()
    for name, number in steps:
        mesh.step(name, number)
    mesh.check()
    mesh.settle()
    mesh.check()
    for client in mesh.clients:
        assert client.seen() == client.expected(mesh.stored)


# --- single cases -------------------------------------------------------------------------------------------------------


def one_chunk(offset: int, *, final: str | None = None) -> Record:
    return record(offset, chunk(offset, f"{offset}", final=final))


class Room:
    """A channel with readers that were all there from the start."""

    def __init__(self, readers: int = 1) -> None:
        self.asked = 0
        self.channel = Channel(SESSION, SCOPE, mend=self._ask, watch=lambda _: None)
        self.sinks = [self.add(0) for _ in range(readers)]

    def _ask(self, channel: Channel) -> None:
        self.asked += 1

    def add(self, read_to: int) -> FakeSink:
        sink = FakeSink()
        position = Position(read_to, 1 if read_to else 0, 10 * read_to)
        reader = Reader(sink, Native(SCOPE), position, message_id=None, max_buffer_bytes=ROOM)
        assert self.channel.attach(reader, read_to, 10 * read_to)
        return sink

    def hear(self, *offsets: int) -> None:
        for offset in offsets:
            self.channel.on_record(one_chunk(offset), 1.0)

    def texts(self, sink: FakeSink) -> list[str]:
        return [json.loads(event.data)["chunk"] for event in read(sink.stream).events]


def test_records_out_of_order_are_shown_in_order() -> None:
    room = Room()
    room.hear(2, 3, 1)
    assert room.texts(room.sinks[0]) == ["1", "2", "3"]


def test_a_hole_is_looked_for_and_nothing_is_shown_across_it() -> None:
    room = Room()
    room.hear(1, 3)
    assert room.texts(room.sinks[0]) == ["1"]
    assert room.asked == 1


def test_what_is_kept_behind_a_hole_is_bounded_and_the_rest_comes_from_the_transcript() -> None:
    room = Room()
    room.hear(*range(2, 2 * MAX_AHEAD))
    room.hear(1)
    assert room.texts(room.sinks[0]) == [str(offset) for offset in range(1, MAX_AHEAD + 2)]
    room.hear(*range(1, 2 * MAX_AHEAD))
    assert room.texts(room.sinks[0]) == [str(offset) for offset in range(1, 2 * MAX_AHEAD)]


def test_a_reader_who_knows_less_than_was_heard_of_has_to_read_on() -> None:
    room = Room()
    room.hear(1, 2)
    late = Reader(FakeSink(), Native(SCOPE), Position(1, 1, 10), message_id=None, max_buffer_bytes=ROOM)
    assert not room.channel.attach(late, 1, 10)
    assert not late.is_live
    assert room.channel.attach(late, 2, 20)


def test_a_reader_who_knows_more_than_was_heard_of_gets_nothing_twice() -> None:
    room = Room()
    late = room.add(2)
    room.hear(1, 2, 3)
    assert room.texts(room.sinks[0]) == ["1", "2", "3"]
    assert room.texts(late) == ["3"]


def test_who_has_read_further_than_the_others_makes_the_channel_watch_for_what_they_missed() -> None:
    room = Room()
    room.channel.on_record(one_chunk(1, final="stop"), 1.0)
    assert not room.channel.is_active
    room.add(3)
    assert room.channel.is_active


def test_an_answer_is_watched_until_its_final_chunk() -> None:
    room = Room()
    room.hear(1)
    assert room.channel.is_active
    room.channel.on_record(one_chunk(2, final="stop"), 2.0)
    assert not room.channel.is_active


def test_silence_is_counted_anew_when_something_is_expected() -> None:
    room = Room()
    room.channel.quiet_checks = 3
    room.channel.expect(7.0)
    assert (room.channel.is_active, room.channel.touched, room.channel.quiet_checks) == (True, 7.0, 0)


def test_what_is_gone_for_good_is_said_and_not_hidden() -> None:
    room = Room()
    room.hear(1)
    room.channel.jump(one_chunk(5), 1.0)
    events = read(room.sinks[0].stream).events
    assert [event.type for event in events] == ["message", "reset", "message"]
    assert json.loads(events[1].data) == {"reason": "gap"}
    assert SCOPE.read(events[1].id) == Position(5, 0, 50)
    room.hear(6)
    assert json.loads(read(room.sinks[0].stream).events[-1].data)["chunk"] == "6"


def test_a_channel_without_readers_keeps_nothing() -> None:
    room = Room(readers=0)
    room.hear(5, 6, 9)
    assert room.asked == 0
    assert (room.channel.heard, room.channel.last) == (9, 0)


def test_a_session_seems_new_while_somebody_reads_all_of_it_and_nothing_was_heard() -> None:
    room = Room()
    assert room.channel.seems_new
    assert not Room(readers=0).channel.seems_new, "nobody has looked"
    room.hear(2)
    assert not room.channel.seems_new, "what is behind a hole was stored all the same"
    room.hear(1)
    room.channel.on_record(one_chunk(3, final="stop"), 1.0)
    assert not room.channel.is_waiting
    assert not room.channel.seems_new


def test_a_session_does_not_seem_new_where_something_of_it_may_be_unseen() -> None:
    room = Room()
    room.channel.expect(1.0)
    assert not room.channel.seems_new, "a message of it was accepted"
    room = Room()
    room.channel.floor = 7
    assert not room.channel.seems_new, "it was erased"
    room = Room()
    room.channel.is_mending = True
    assert not room.channel.seems_new, "live batches may have been lost"
    room = Room(readers=0)
    one = Reader(FakeSink(), Native(SCOPE), START, message_id=Token("m1"), max_buffer_bytes=ROOM)
    assert room.channel.attach(one, 0, 0)
    assert not room.channel.seems_new, "of the others its only reader knows nothing"


def test_numbers_that_begin_anew_behind_what_expired_are_shown_behind_a_reset() -> None:
    """A duplicate has an older sequence; of one that has a newer one the transcript is asked."""
    room = Room()
    room.hear(1, 2, 3)
    anew = [replace(one_chunk(offset), seq=100 + offset) for offset in (1, 2)]
    room.channel.on_record(anew[0], 1.0)
    assert room.asked == 1
    assert room.channel.is_begun_anew(anew[0])
    room.channel.begin_anew(anew[0], 1.0)
    room.channel.on_record(anew[1], 1.0)
    assert not room.channel.is_begun_anew(anew[0])
    events = read(room.sinks[0].stream).events
    assert [event.type for event in events] == [*["message"] * 3, "reset", *["message"] * 2]
    assert json.loads(events[3].data) == {"reason": "position_expired"}


def test_a_reader_who_has_read_what_began_anew_already_gets_nothing_twice() -> None:
    room = Room()
    room.hear(1, 2, 3)
    room.channel.outlive()
    sink = FakeSink()
    late = Reader(sink, Native(SCOPE), Position(1, 1, 101), message_id=None, max_buffer_bytes=ROOM)
    assert room.channel.attach(late, 1, 101)
    room.channel.begin_anew(replace(one_chunk(1), seq=101), 1.0)
    assert not sink.stream
    assert [event.type for event in read(room.sinks[0].stream).events][3:] == ["reset", "message"]
