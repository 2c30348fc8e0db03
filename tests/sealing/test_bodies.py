"""Sealed bodies: they open for whom they are meant, and for nothing else."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.errors import ChatmeshError, ConfigError, KeyMissingError, ProtocolError
from chatmesh.protocol import sealing
from chatmesh.protocol.cards import Card
from chatmesh.protocol.chunks import FINAL
from chatmesh.protocol.keyring import KeyRing, parse_ring, render_ring
from chatmesh.protocol.records import RecordHead
from chatmesh.protocol.sealing import DataKey, Kind
from chatmesh.protocol.tokens import Token
from tests.sealing.support import NOW, ring_of

S, M = Token("s"), Token("m")
CARD = Card("acme", "alice", None, "nonce", NOW)


def key_of(id: str = "k") -> DataKey:
    return DataKey(S, id, os.urandom(sealing.KEY_BYTES))


@given(st.binary(max_size=2000), st.sampled_from(Kind), st.booleans())
def test_what_was_sealed_opens_and_shows_nothing(body: bytes, kind: Kind, is_final: bool) -> None:
    key = key_of()
    made = key.seal(kind, M, body, is_final=is_final)
    assert sealing.is_sealed(made)
    read = sealing.parse(made)
    assert (read.kind, read.key_id, read.session_id, read.message_id) == (kind, "k", S, M)
    assert (FINAL in read.line) == is_final
    assert key.open(read, kind) == body
    assert len(made) <= len(body) + sealing.OVERHEAD_BYTES
    assert key.seal(kind, M, body) != key.seal(kind, M, body), "a nonce is never used twice"
    if len(body) > 8:
        assert body not in read.box


@given(st.data())
def test_a_changed_body_does_not_open(data: st.DataObject) -> None:
    key = key_of()
    made = bytearray(key.seal(Kind.RECORD, M, b"what was said"))
    place = data.draw(st.integers(0, len(made) - 1))
    made[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        key.open(sealing.parse(bytes(made)), Kind.RECORD)


@given(st.binary(max_size=300))
def test_whatever_claims_to_be_sealed_is_parsed_or_refused(tail: bytes) -> None:
    for body in (tail, sealing.MARK + tail, sealing.MARK + b'"record","key":"k"}\n' + tail):
        try:
            read = sealing.parse(body)
        except ProtocolError:
            continue
        with pytest.raises(ProtocolError):
            key_of().open(read, Kind.RECORD)


def test_a_body_opens_as_what_it_was_sealed_for_only() -> None:
    key = key_of()
    read = sealing.parse(key.seal(Kind.LIVE, M, b"said"))
    for kind in (Kind.RECORD, Kind.REQUEST):
        with pytest.raises(ProtocolError, match="expected"):
            key.open(read, kind)
    with pytest.raises(ProtocolError, match="does not open"):
        key_of().open(read, Kind.LIVE)
    cut = sealing.parse(key.seal(Kind.LIVE, M, b"")[:-20])
    with pytest.raises(ProtocolError, match="does not open"):
        key.open(cut, Kind.LIVE)


def test_longest_ids_stay_within_the_overhead() -> None:
    longest = Token("x" * 128)
    key = DataKey(longest, "f" * 24, os.urandom(32))
    made = key.seal(Kind.REQUEST, longest, b"", is_final=True)
    assert len(made) <= sealing.OVERHEAD_BYTES


def test_a_record_is_sealed_whole_and_its_final_is_seen_from_outside() -> None:
    key = key_of()
    head = RecordHead(S, M, 1, 1, 7, request={"message": "secret"}, key=key)
    chunk = b'{"chunk":"secret","is_final":true}'
    stored, live = head.encode([chunk]), head.encode([chunk], seq=9)
    clear = replace(head, key=None)
    assert key.open(sealing.parse(stored), Kind.RECORD) == clear.encode([chunk])
    assert key.open(sealing.parse(live), Kind.LIVE) == clear.encode([chunk], seq=9)
    assert b"secret" not in stored + live
    assert FINAL in stored
    assert FINAL not in head.encode([b'{"chunk":"secret"}'])


# --- the key ring ---------------------------------------------------------------------------------------------------------


def test_a_data_key_opens_for_its_card_only() -> None:
    ring = ring_of()
    card = ring.with_new_key(S, CARD)
    made = ring.data_key(S, card).seal(Kind.REQUEST, M, b"said")
    assert ring.data_key(S, card).open(sealing.parse(made), Kind.REQUEST) == b"said"
    for other in (
        replace(card, user="mallory"),
        replace(card, tenant="other"),
        replace(card, nonce="another"),
        replace(card, key={"id": ring.current, "wrapped": "AAAA"}),
        replace(card, key={"id": ring.current, "wrapped": "no base64!"}),
        replace(card, key={"id": ring.current}),
    ):
        with pytest.raises(ProtocolError):
            ring.data_key(S, other)
    with pytest.raises(ProtocolError):
        ring.data_key(Token("other"), card)


def test_a_ring_without_the_key_says_which_one_it_lacks() -> None:
    card = ring_of().with_new_key(S, CARD)
    assert card.key is not None
    with pytest.raises(KeyMissingError, match=str(card.key["id"])):
        ring_of().data_key(S, card)
    with pytest.raises(KeyMissingError, match="no data key"):
        ring_of().data_key(S, CARD)


def test_rewrapping_changes_the_wrapping_and_nothing_else() -> None:
    new = ring_of(2)
    old = KeyRing(new.keys, next(iter(new.keys)))
    card = old.with_new_key(S, CARD)
    made = old.data_key(S, card).seal(Kind.RECORD, M, b"said")
    again = new.rewrapped(S, card)
    assert (old.wraps(card), new.wraps(card), new.wraps(again)) == (True, False, True)
    assert replace(again, key=None) == replace(card, key=None)
    only_new = KeyRing({new.current: new.keys[new.current]}, new.current)
    assert only_new.data_key(S, again).open(sealing.parse(made), Kind.RECORD) == b"said"


def test_a_ring_survives_its_file_and_shows_no_key() -> None:
    ring = ring_of(3)
    assert parse_ring(render_ring(ring), "ring") == ring
    for key in ring.keys.values():
        assert str(key.secret) not in repr(ring)
        assert key.secret.hex() not in repr(ring)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"current": "a", "keys": {}}',
        '{"current": "a", "keys": {"a": {"key": "AAAA"}}}',
        '{"current": "a", "keys": {"a": 7}}',
        '{"current": "a", "keys": {"a": {"key": "no base64"}}}',
        '{"current": "b", "keys": {"a": {"key": "' + "A" * 43 + '="}}}',
        '{"keys": {"a": {"key": "' + "A" * 43 + '="}}}',
    ],
)
def test_what_is_no_ring_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError) as failure:
        parse_ring(text, "ring.json")
    assert failure.value.where == "ring.json"
    assert "AAAA" not in str(failure.value)


@given(st.text(max_size=300))
def test_any_text_is_a_ring_or_an_error_of_ours(text: str) -> None:
    try:
        parse_ring(text, "ring.json")
    except ChatmeshError:
        return
