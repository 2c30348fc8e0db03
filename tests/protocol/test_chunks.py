"""Chunks by lines: what is taken apart is what was put together, and what was written in another way is read as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from chatmesh.errors import ProtocolError
from chatmesh.protocol.chunks import Chunks, join, split
from chatmesh.protocol.jsontext import encode
from chatmesh.protocol.records import Record
from tests.protocol.test_records import head_of
from tests.protocol.values import nested, records

IDS = b'{"session_id":"s","message_id":"m"'
HEAD = IDS + b',"offset":1,"attempt":1,"token":1,"seq":1'


def line(*, chunk_id: int = 0, more: bytes = b"") -> bytes:
    return IDS + b',"chunk_id":%d%b}' % (chunk_id, more)


def own(record: Record) -> list[bytes]:
    """Its chunks as its worker writes them: with the record's ids in front."""
    ids = {"session_id": record.session_id, "message_id": record.message_id}
    return [
        encode(ids | {name: value for name, value in chunk.items() if name not in ids})
        for chunk in record.chunks
    ]


@given(records())
@settings(deadline=None)
def test_what_a_worker_writes_is_taken_apart_without_reading_it(record: Record) -> None:
    lines = own(record)
    body = head_of(record).encode(lines, seq=record.seq)
    parts = split(body)
    assert (parts is None) == (not lines), "without chunks there is nothing to take apart"
    if parts is not None:
        assert parts[1] == lines
        assert json.loads(parts[0]) | {"chunks": [json.loads(each) for each in lines]} == json.loads(body)


@given(records())
@settings(deadline=None)
def test_it_is_the_same_record_whichever_way_its_json_was_written(record: Record) -> None:
    body = head_of(record).encode(own(record), seq=record.seq)
    other = encode(json.loads(body))
    assert Record.decode(body) == Record.decode(other)
    assert Record.decode(body).final == Record.decode(other).final


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b',"chunks":[%b,%b]}' % (line(), line(chunk_id=1)),
        HEAD + b',"chunks":[\n%b,\n%b\n]}' % (line(), line(chunk_id=1)),
        HEAD + b',"chunks":[\n%b\n,\n%b\n]}\n' % (line(), line(chunk_id=1)),
        HEAD + b',"chunks":[\n%b\n,\r\n%b\n]}' % (line(), line(chunk_id=1)),
        HEAD + b',"chunks":[\n%b\n,\n%b\n]}' % (line(more=b',"a":[\n1\n]'), line(chunk_id=1)),
    ],
)
def test_json_that_others_wrote_is_read_as_json(body: bytes) -> None:
    record = Record.decode(body)
    assert [chunk["chunk_id"] for chunk in record.chunks] == [0, 1]
    assert not any(b"\n" in each or b"\r" in each for each in record.chunks.lines)


@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_no_line_end_within_a_chunk_gets_to_a_reader(end: bytes) -> None:
    """It would begin a field of the event stream."""
    body = join(HEAD, [line(more=b',"chunk":"a%bid: 7"' % end)])
    with pytest.raises(ProtocolError):
        Record.decode(body)


def test_chunks_of_another_message_are_not_taken_for_this_ones() -> None:
    assert split(join(HEAD, [line(), line().replace(b'"m"', b'"n"')])) is None


def test_a_stored_record_is_read_at_once_and_a_live_one_when_it_is_asked_for() -> None:
    body = join(HEAD, [line(more=b',"chunk":oops'), line(chunk_id=1)])
    assert Record.decode(body).events == 2
    with pytest.raises(ProtocolError):
        Record.decode(body).chunks.read()
    with pytest.raises(ProtocolError):
        Record.decode(body, 1)


def test_a_last_chunk_that_can_not_be_read_is_no_end() -> None:
    with pytest.raises(ProtocolError):
        Record.decode(join(HEAD, [line(more=b',"is_final":true,"chunk":oops')]))


@pytest.mark.parametrize(
    ("more", "is_final"),
    [
        (b',"is_final":true', True),
        (b',"is_final":false', False),
        (b',"is_final":false,"metadata":{"is_final":true}', False),
        (b',"is_final":true,"metadata":{"is_final":false}', True),
        (b"", False),
    ],
)
def test_the_end_of_an_answer_is_what_the_chunk_itself_says(more: bytes, is_final: bool) -> None:
    assert (Record.decode(join(HEAD, [line(more=more)])).final is not None) == is_final


def test_what_is_nested_too_deep_to_be_written_again_is_refused() -> None:
    deep = join(HEAD, [line(more=b',"metadata":{"a":%b}' % nested(300))])
    with pytest.raises(ProtocolError, match="nested deeper"):
        Record.decode(deep).chunks.read()


def test_chunks_are_equal_to_what_they_say() -> None:
    objects = [{"chunk_id": 0}]
    assert Chunks(objects) == Chunks(lines=[b'{"chunk_id": 0}']) == objects
    assert Chunks() == []
