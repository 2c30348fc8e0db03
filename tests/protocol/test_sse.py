"""Events: whatever people and models write, a browser sees the events that were meant and no other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.protocol import sse
from chatmesh.protocol.chunks import Chunks
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import Position
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from tests.protocol.sse_reader import Event, read
from tests.protocol.values import CHUNKS, HOSTILE, SCOPE, TEXTS, records


def blocks(stream: bytes) -> list[bytes]:
    return [block + b"\n\n" for block in stream.split(b"\n\n")[:-1]]


def meant(record: Record) -> list[tuple[str, object]]:
    """Type and content of every event of a record, in order."""
    chunks: list[tuple[str, object]] = [("message", chunk) for chunk in record.chunks]
    if record.reset is None:
        return chunks
    of = {} if record.resets_all else {"message_id": record.message_id}
    return [("reset", {"reason": record.reset} | of), *chunks]


@given(records())
@settings(deadline=None)
def test_no_text_can_forge_an_event(record: Record) -> None:
    seen = read(sse.events(record, SCOPE))
    assert [(event.type, json.loads(event.data)) for event in seen.events] == meant(record)


@given(records())
@settings(deadline=None)
def test_every_id_reads_back_as_the_place_behind_its_event(record: Record) -> None:
    seen = read(sse.events(record, SCOPE))
    assert [SCOPE.read(event.id) for event in seen.events] == [
        Position(record.offset, index, record.seq) for index in range(1, record.events + 1)
    ]


@given(records())
@settings(deadline=None)
def test_a_record_seen_in_part_goes_on_with_exactly_the_rest(record: Record) -> None:
    whole = blocks(sse.events(record, SCOPE))
    assert len(whole) == record.events
    for skip in range(record.events + 1):
        assert sse.events(record, SCOPE, skip=skip) == b"".join(whole[skip:])


@given(st.lists(records(), max_size=4))
@settings(deadline=None, max_examples=30)
def test_events_of_records_follow_each_other_without_touching(several: list[Record]) -> None:
    seen = read(b"".join(sse.events(record, SCOPE) for record in several))
    assert len(seen.events) == sum(record.events for record in several)


@given(records())
@settings(deadline=None, max_examples=50)
def test_every_event_is_an_id_and_one_line_of_data(record: Record) -> None:
    for block in blocks(sse.events(replace(record, reset=None), SCOPE)):
        head, data = block.removesuffix(b"\n\n").split(b"\n")
        assert head.startswith(b"id: ")
        assert data.startswith(b"data: {")
        assert not any(byte < 0x20 for byte in data)


@given(CHUNKS)
@settings(deadline=None, max_examples=50)
def test_a_chunk_without_a_transcript_has_no_id(chunk: ResponseChunk) -> None:
    seen = read(sse.chunk(chunk.encode()))
    assert [(event.type, json.loads(event.data), event.id) for event in seen.events] == [
        ("message", chunk.wire(), "")
    ]


def test_a_chunk_without_a_position_moves_none() -> None:
    seen = read(sse.opening("p.1", 1500) + sse.chunk(b"{}") + sse.KEEPALIVE)
    assert (seen.events, seen.last_id) == ([Event("message", "{}", "p.1")], "p.1")


# --- control ----------------------------------------------------------------------------------------------------------


def test_an_opening_gives_a_position_before_any_event() -> None:
    block = sse.opening("k.0.0.0.abc", 1734)
    assert block == b": open\nid: k.0.0.0.abc\nretry: 1734\n\n"
    seen = read(block)
    assert (seen.events, seen.last_id, seen.retry) == ([], "k.0.0.0.abc", 1734)


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15"
CHROME_ON_IOS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize("user_agent", [FIREFOX, SAFARI, CHROME_ON_IOS])
def test_a_browser_that_forgets_an_id_without_data_is_told_it_by_an_event(user_agent: str) -> None:
    block = sse.opening("k.0.0.0.abc", 1734, user_agent)
    assert block.startswith(sse.opening("k.0.0.0.abc", 1734))
    seen = read(block)
    assert (seen.events, seen.last_id) == ([Event("position", "{}", "k.0.0.0.abc")], "k.0.0.0.abc")


@pytest.mark.parametrize("user_agent", ["", CHROME, f"{CHROME} Edg/131.0.0.0", "python-httpx/0.28.1", "node"])
def test_everybody_else_is_told_it_once(user_agent: str) -> None:
    assert sse.opening("p", 1, user_agent) == sse.opening("p", 1)


def test_a_stream_that_cant_be_served_says_only_when_to_come_back() -> None:
    assert sse.retry_only(1200) == b"retry: 1200\n\n"
    seen = read(sse.retry_only(1200))
    assert (seen.events, seen.last_id, seen.retry) == ([], "", 1200)


def test_a_keepalive_is_a_comment_that_moves_nothing() -> None:
    assert sse.KEEPALIVE == b":\n\n"
    assert read(sse.KEEPALIVE * 3) == read(b"")


def test_a_drain_has_a_reason_a_retry_and_no_position() -> None:
    block = sse.drain("leaving", 1100)
    assert block == b'event: drain\nretry: 1100\ndata: {"reason":"leaving"}\n\n'
    seen = read(sse.opening("p", 1) + block)
    assert (seen.events, seen.retry) == ([Event("drain", '{"reason":"leaving"}', "p")], 1100)


def test_a_reset_of_everything_names_no_message() -> None:
    assert sse.reset("position_unknown") == b'event: reset\ndata: {"reason":"position_unknown"}\n\n'


def test_a_reset_of_a_message_has_a_position() -> None:
    block = sse.reset("worker_changed", message_id="m", position="p")
    assert block == b'id: p\nevent: reset\ndata: {"reason":"worker_changed","message_id":"m"}\n\n'


@given(TEXTS)
@settings(deadline=None, max_examples=50)
def test_no_reason_can_forge_an_event(reason: str) -> None:
    seen = read(sse.reset(reason, message_id="m", position="p") + sse.drain(reason, 1))
    assert [(event.type, json.loads(event.data)["reason"]) for event in seen.events] == [
        ("reset", reason),
        ("drain", reason),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text: str) -> None:
    chunk = ResponseChunk(Token("s"), Token("m"), 0, text).wire()
    seen = read(sse.events(Record("s", "m", 1, 1, 1, 1, Chunks([chunk])), SCOPE))
    assert [json.loads(event.data)["chunk"] for event in seen.events] == [text]
