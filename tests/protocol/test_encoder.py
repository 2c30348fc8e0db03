"""The chunks of an attempt, and their times."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.messages import ChunkBatch
from chatmesh.protocol.spend import Spend
from chatmesh.protocol.timestamps import Stamper
from chatmesh.protocol.tokens import Token
from tests.protocol.values import HOSTILE

NOW = 1_763_411_405.125
ANY_TEXT = st.text() | st.sampled_from(HOSTILE)
"""Lone surrogates too: a provider may yield half a pair."""


def encoder(*, next_id: int = 0, max_text: int = 1000, tokens: int = 0) -> ChunkEncoder:
    return ChunkEncoder(
        Token("s"),
        Token("m"),
        "c",
        model="count",
        attempt=2,
        next_id=next_id,
        tokens=tokens,
        max_text=max_text,
    )


def test_a_content_chunk_is_the_seeds() -> None:
    (chunk,) = encoder(next_id=42).content([(" weather", NOW)])
    assert json.loads(chunk) == {
        "session_id": "s",
        "message_id": "m",
        "chunk_id": 42,
        "chunk": " weather",
        "chunk_type": "content",
        "is_final": False,
        "metadata": {"model": "count", "attempt": 2},
        "timestamp": "2025-11-17T20:30:05.125Z",
        "correlation_id": "c",
    }


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "cancelled"])
def test_a_final_chunk_has_its_reason_in_the_metadata_and_no_text(reason: str) -> None:
    body = json.loads(encoder(tokens=7).final(reason, NOW, Spend()))
    assert (body["chunk"], body["chunk_type"], body["is_final"]) == ("", "content", True)
    assert body["metadata"] == {
        "model": "count",
        "attempt": 2,
        "finish_reason": reason,
        "tokens_used": 7,
        "digest": f"sha256:{hashlib.sha256().hexdigest()}",
        "spend": Spend().wire(),
    }
    assert "error" not in body


def test_a_failure_is_an_error_final_with_its_code() -> None:
    body = json.loads(encoder(tokens=7).failure("provider_incomplete", "half \ud800", NOW, Spend()))
    assert (body["chunk"], body["chunk_type"], body["is_final"]) == ("", "error", True)
    assert body["error"] == {"code": "provider_incomplete", "message": "half \ufffd"}
    assert body["metadata"]["finish_reason"] == "error"


@given(texts=st.lists(ANY_TEXT, max_size=8), next_id=st.integers(0, 1000), max_text=st.integers(1, 60))
@settings(deadline=None)
def test_ids_rise_by_one_over_whatever_is_written(texts: list[str], next_id: int, max_text: int) -> None:
    writer = encoder(next_id=next_id, max_text=max_text)
    written = [chunk for text in texts for chunk in writer.content([(text, NOW)])]
    written.append(writer.final("stop", NOW, Spend()))
    ids = [json.loads(chunk)["chunk_id"] for chunk in written]
    assert ids == list(range(next_id, next_id + len(written)))
    assert writer.next_id == ids[-1] + 1


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE),
    max_text=st.integers(1, 60),
)
@settings(deadline=None)
def test_a_large_text_is_split_and_nothing_of_it_lost(text: str, max_text: int) -> None:
    written = [json.loads(chunk)["chunk"] for chunk in encoder(max_text=max_text).content([(text, NOW)])]
    assert "".join(written) == text
    assert all(len(part) == 1 or len(orjson.dumps(part)) <= max_text + 2 for part in written)
    if len(orjson.dumps(text)) == len(text) + 2:
        assert len(written) == max(1, -(-len(text) // max_text))


@given(text=ANY_TEXT, max_text=st.integers(6, 60))
@settings(deadline=None, max_examples=50)
def test_the_text_of_a_chunk_takes_no_more_bytes_than_it_may_however_it_is_escaped(
    text: str, max_text: int
) -> None:
    around = len(encoder(next_id=10**6).content([("", NOW)])[0])
    for chunk in encoder(max_text=max_text).content([(text, NOW)]):
        assert len(chunk) <= around + max_text


@pytest.mark.parametrize("before", [0, 3000, 50_000])
@pytest.mark.parametrize("character", ['"', "\\", "\x01", "\u20ac", "\U0001f600"])
def test_a_text_of_escapes_behind_plain_ones_is_split_into_few_chunks(character: str, before: int) -> None:
    text = "w" * before + character * 10_000
    written = encoder(max_text=1000).content([(text, NOW)])
    assert "".join(json.loads(chunk)["chunk"] for chunk in written) == text
    assert all(len(orjson.dumps(json.loads(chunk)["chunk"])) <= 1002 for chunk in written)
    assert len(written) <= 3 * len(orjson.dumps(text)) // 1000


@given(ANY_TEXT)
@settings(deadline=None)
def test_any_text_of_a_provider_can_be_read_by_anybody(text: str) -> None:
    writer = encoder(max_text=20)
    for chunk in [*writer.content([(text, NOW)]), writer.failure("c", text, NOW, Spend())]:
        ChunkBatch.decode(chunk)


@given(ANY_TEXT)
@settings(deadline=None)
def test_clean_text_changes_nothing_but_lone_surrogates(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode()
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert cleaned == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ufeff\ud800", "\ufeff\ufffd"),
    ],
)
def test_half_a_pair_becomes_a_replacement_and_a_whole_one_its_character(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


# --- times -------------------------------------------------------------------------------------------------------------

TIMES = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)


@given(st.lists(TIMES, min_size=1, max_size=6))
@settings(deadline=None)
def test_a_time_is_iso_8601_in_utc_with_milliseconds(times: list[float]) -> None:
    stamp = Stamper()
    for seconds in times:
        text = stamp(seconds)
        assert len(text) == len("2025-11-17T20:30:05.123Z")
        read = datetime.fromisoformat(text)
        real = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        assert abs(read - real) <= timedelta(milliseconds=1)


@given(st.lists(TIMES, min_size=2, max_size=6))
@settings(deadline=None, max_examples=50)
def test_times_never_go_back(times: list[float]) -> None:
    stamp = Stamper()
    written = [stamp(seconds) for seconds in sorted(times)]
    assert written == sorted(written)


def test_what_a_stamper_remembers_does_not_change_what_it_says() -> None:
    stamp = Stamper()
    for seconds in (5.25, 5.5, 6.75, 5.25):
        assert stamp(seconds) == Stamper()(seconds)


def example(chunk: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(chunk)
    return body


def test_an_attempt_goes_on_counting_tokens_where_the_last_one_ended() -> None:
    writer = encoder(tokens=3, max_text=2)
    writer.content([("ab", NOW)])
    writer.content([("abcdef", NOW)])
    assert example(writer.final("stop", NOW, Spend()))["metadata"]["tokens_used"] == 5
