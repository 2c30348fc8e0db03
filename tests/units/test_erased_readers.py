"""A reader of one message whose session is erased: ended where its message is of before, left alone where it is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from chatmesh.hub.channel import Channel
from chatmesh.hub.reader import Reader
from chatmesh.hub.wires import Native
from chatmesh.protocol.positions import START, Scope
from chatmesh.protocol.records import Record, RecordHead
from chatmesh.protocol.tokens import Token
from tests.protocol.sse_reader import read
from tests.units.made import SESSION, chunk, record
from tests.units.sinks import FakeSink

SCOPE = Scope("e", SESSION)
ERASED_AT = 5


def erasure(offset: int, queue_seq: int = ERASED_AT) -> Record:
    one = record(offset, message="erase_1", reset="session_erased")
    return replace(one, resets_all=True, queue_seq=queue_seq)


class Room:
    """A channel, and readers of the message `m` whose place in the work queue is told."""

    def __init__(self) -> None:
        self.channel = Channel(SESSION, SCOPE, mend=lambda _: None, watch=lambda _: None)

    def come(self, since: int, *, message_id: str | None = "m") -> tuple[Reader, FakeSink]:
        sink = FakeSink()
        only = Token(message_id) if message_id is not None else None
        reader = Reader(sink, Native(SCOPE), START, message_id=only, max_buffer_bytes=1000)
        reader.since = since
        return reader, sink


def said(sink: FakeSink) -> list[object]:
    """Reasons of resets, and of each chunk its id and whether it is the last."""
    bodies = [json.loads(event.data) for event in read(sink.stream).events]
    return [body.get("reason") or (body["chunk_id"], body["is_final"]) for body in bodies]


@pytest.mark.parametrize("shown", [0, 1], ids=["nothing was shown", "something was shown"])
def test_one_whose_message_may_be_of_before_steps_back_and_is_ended_behind_a_reset(shown: int) -> None:
    room = Room()
    reader, sink = room.come(ERASED_AT - 1)
    room.channel.attach(reader, 0, 0)
    for at in range(shown):
        room.channel.on_record(record(1, chunk(at)), 0.0)
    room.channel.on_record(erasure(1 + shown), 0.0)
    assert room.channel.is_in_doubt(reader)
    assert not reader.is_live
    assert not room.channel.live
    reader.void(SESSION)
    assert said(sink) == [*((at, False) for at in range(shown)), "session_erased", (shown, True)]
    assert reader.is_finished


@pytest.mark.parametrize("queue_seq", [ERASED_AT, 0], ids=["of now", "of a version that does not tell"])
def test_one_who_came_behind_the_erasure_reads_on(queue_seq: int) -> None:
    room = Room()
    reader, sink = room.come(ERASED_AT)
    room.channel.attach(reader, 0, 0)
    room.channel.on_record(erasure(1, queue_seq), 0.0)
    room.channel.on_record(record(2, chunk(0), chunk(1, "", final="stop")), 0.0)
    assert said(sink) == [(0, False), (1, True)]


def test_one_who_was_behind_when_it_was_erased_does_not_go_live_in_doubt() -> None:
    room = Room()
    there, _ = room.come(0, message_id=None)
    room.channel.attach(there, 0, 0)
    room.channel.on_record(erasure(1), 0.0)
    late, _ = room.come(ERASED_AT - 1)
    assert not room.channel.attach(late, 1, 10)
    late.since = ERASED_AT
    assert room.channel.attach(late, 1, 10)


def test_one_who_was_shown_something_is_not_shown_the_answer_to_whoever_uses_the_id_again() -> None:
    room = Room()
    reader, sink = room.come(0)
    assert reader.feed(record(1, chunk(0), request={}))
    assert reader.feed(record(2, chunk(1)))
    assert not reader.feed(record(5, chunk(0), chunk(1, "", final="stop"), request={}))
    assert said(sink) == [(0, False), (1, False), "session_erased", (2, True)]


def test_one_of_all_of_the_session_is_told_once_and_stays() -> None:
    room = Room()
    reader, sink = room.come(0, message_id=None)
    room.channel.attach(reader, 0, 0)
    room.channel.on_record(erasure(1), 0.0)
    room.channel.on_record(erasure(1), 0.0)
    assert said(sink) == ["session_erased"]
    assert reader.is_live


def test_what_was_erased_is_told_on_the_wire() -> None:
    head = RecordHead(
        SESSION, Token("erase_1"), 3, 1, 7, reset="session_erased", resets_all=True, queue_seq=9
    )
    assert Record.decode(head.encode([]), 11).queue_seq == 9
    body = json.loads(head.encode([]))
    del body["queue_seq"]
    assert Record.parse(body, 11).queue_seq == 0


def test_what_was_erased_is_no_gap() -> None:
    room = Room()
    everything, told = room.come(0, message_id=None)
    newer, silent = room.come(ERASED_AT)
    room.channel.attach(everything, 0, 0)
    room.channel.attach(newer, 0, 0)
    room.channel.jump(erasure(7), 0.0)
    room.channel.on_record(record(8, chunk(0)), 0.0)
    assert said(told) == ["session_erased", (0, False)]
    assert said(silent) == [(0, False)]
