"""A reader in another format gets the answer from its beginning, or a cut connection; never a wrong or a half one."""

from __future__ import annotations

from typing import Any

from chatmesh.hub.reader import Reader
from chatmesh.hub.wires import Collected, Projection
from chatmesh.protocol.positions import START
from chatmesh.protocol.tokens import Token
from tests.units.made import chunk, record
from tests.units.sinks import FakeSink

M = Token("m")


class Plain:
    """A format of texts."""

    def opening(self) -> bytes:
        return b"<"

    def chunk(self, piece: dict[str, Any]) -> bytes:
        return b">" if piece["is_final"] else str(piece["chunk"]).encode()


def projected(sink: FakeSink) -> Reader:
    return Reader(sink, Projection(Plain()), START, message_id=M, max_buffer_bytes=1000)


ONE, TWO = record(1, chunk(0, "a")), record(2, chunk(1, "b"), chunk(2, "", final="stop"))


def test_chunks_replayed_and_live_are_told_in_its_words_up_to_the_final() -> None:
    sink = FakeSink()
    reader = projected(sink)
    assert reader.feed(ONE)
    reader.push(TWO, b"native bytes of no use to it")
    assert sink.stream == b"ab>"
    assert reader.is_finished
    assert not sink.is_closed


def test_other_messages_of_the_session_are_not_told() -> None:
    sink = FakeSink()
    reader = projected(sink)
    reader.push(record(1, chunk(0, "x", message="other"), message="other"), b"native")
    assert sink.stream == b""
    assert not reader.is_finished


def test_reset_before_anything_was_told_is_nothing() -> None:
    sink = FakeSink()
    reader = projected(sink)
    reader.feed(record(3, chunk(3, "new"), reset="restarted"))
    assert sink.stream == b"new"
    assert not sink.is_closed


def test_reset_of_what_was_told_cuts_the_connection() -> None:
    sink = FakeSink()
    reader = projected(sink)
    reader.feed(ONE)
    reader.push(record(2, chunk(1, "new"), reset="restarted"), b"native")
    assert sink.is_closed
    assert reader.is_finished


def test_gap_or_a_pod_that_leaves_cuts_the_connection() -> None:
    for end in (lambda reader: reader.leave(), lambda reader: reader.lose(b"native", START)):
        sink = FakeSink()
        reader = projected(sink)
        reader.feed(ONE)
        end(reader)
        assert sink.is_closed
        assert sink.stream == b"a"


def test_whole_answer_is_collected_without_what_was_taken_back() -> None:
    wire = Collected()
    reader = Reader(FakeSink(), wire, START, message_id=M, max_buffer_bytes=1000)
    reader.feed(ONE)
    assert not wire.is_whole
    reader.push(record(2, chunk(1, "new"), chunk(2, "", final="stop"), reset="restarted"), b"")
    assert [piece["chunk"] for piece in wire.chunks] == ["new", ""]
    assert wire.is_whole
    assert reader.is_finished
