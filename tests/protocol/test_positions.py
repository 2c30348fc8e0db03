"""Positions: each is read back as what it was by its own session in its own epoch, and by nobody else."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chatmesh.protocol.positions import MAX_LENGTH, START, Position, Scope, epoch_of
from chatmesh.protocol.tokens import Token
from tests.protocol.values import HOSTILE, SCOPE, TEXTS, TOKENS

POSITIONS = st.builds(
    Position, st.integers(0, 10**12 - 1), st.integers(0, 999_999), st.integers(0, 10**15 - 1)
)
EPOCHS = st.integers(0, 2**62).map(epoch_of)
SCOPES = st.builds(Scope, EPOCHS, TOKENS)


@given(scope=SCOPES, position=POSITIONS)
@settings(deadline=None)
def test_a_position_is_read_back_as_it_was_written(scope: Scope, position: Position) -> None:
    assert scope.read(scope.text(position)) == position


@given(scope=SCOPES, position=POSITIONS)
@settings(deadline=None)
def test_a_position_fits_into_a_header_and_a_query(scope: Scope, position: Position) -> None:
    text = scope.text(position)
    assert len(text) <= MAX_LENGTH == 64
    assert text.isascii()
    assert all(character.isalnum() or character == "." for character in text)


def test_the_largest_position_is_read_back() -> None:
    largest = Position(10**12 - 1, 999_999, 10**15 - 1)
    scope = Scope("z" * 14, Token("x" * 128))
    assert scope.read(scope.text(largest)) == largest


@given(position=POSITIONS, epoch=EPOCHS, one=TOKENS, other=TOKENS)
@settings(deadline=None)
def test_one_sessions_position_is_foreign_to_another(
    position: Position, epoch: str, one: Token, other: Token
) -> None:
    assume(one != other)
    assert Scope(epoch, other).read(Scope(epoch, one).text(position)) is None


@given(position=POSITIONS, session_id=TOKENS, one=EPOCHS, other=EPOCHS)
@settings(deadline=None)
def test_a_position_of_another_epoch_is_foreign(
    position: Position, session_id: Token, one: str, other: str
) -> None:
    assume(one != other)
    assert Scope(other, session_id).read(Scope(one, session_id).text(position)) is None


@given(TEXTS)
@settings(deadline=None)
def test_no_text_of_somebody_else_is_a_position(text: str) -> None:
    assert SCOPE.read(text) is None


@given(position=POSITIONS, data=st.data())
@settings(deadline=None)
def test_a_position_with_anything_put_into_it_is_malformed(position: Position, data: st.DataObject) -> None:
    text = SCOPE.text(position)
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.sampled_from([*HOSTILE[1:], ".", " ", "-", "+", "_", "A", "\n"]))
    assert SCOPE.read(text[:at] + junk + text[at:]) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text[1:],
        lambda text: text.upper(),
        lambda text: text + "\n",
        lambda text: "0" * 60 + text,
        lambda text: text.replace(".", "٠", 1),
        lambda text: text.replace("7", "٧"),
        lambda text: text.replace("7", "-7"),
        lambda text: text.replace("7", "7" * 20),
    ],
)
def test_a_damaged_position_is_malformed(change: object) -> None:
    text = SCOPE.text(Position(7, 7, 7))
    assert callable(change)
    assert SCOPE.read(text) is not None
    assert SCOPE.read(change(text)) is None


@given(offset=st.integers(1, 10**12 - 1), index=st.integers(0, 999_999), seq=st.integers(1, 10**15 - 1))
@settings(deadline=None, max_examples=50)
def test_a_frame_around_the_index_is_the_position(offset: int, index: int, seq: int) -> None:
    head, tail = SCOPE.frame(offset, seq)
    assert head + str(index).encode() + tail == SCOPE.write(offset, index, seq).encode()


@given(st.integers(0, 2**62))
@settings(deadline=None, max_examples=50)
def test_an_epoch_tells_every_millisecond_from_every_other(created: int) -> None:
    assert int(epoch_of(created), 36) == created


@pytest.mark.parametrize("created", [0, -1, -62_135_596_800_000])
def test_a_broker_whose_clock_was_never_set_has_an_epoch(created: int) -> None:
    assert epoch_of(created) == "0"


def test_the_start_lies_before_everything() -> None:
    assert (START.offset, START.index) == (0, 0)
