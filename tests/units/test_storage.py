"""How full is too full, and how long a silence is too long."""

from __future__ import annotations

import pytest

from chatmesh.broker.silence import NOT_STORING_SECONDS, Silence
from chatmesh.broker.storage import Storage, fill_ratio
from chatmesh.broker.streams import DEAD_LETTERS, REGISTRY, REQUESTS, TRANSCRIPT, stream_of
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token


def test_alarm_is_told_once_for_each_crossing_and_by_stream() -> None:
    storage = Storage()
    told = [storage.note(TRANSCRIPT, ratio) for ratio in (0.1, 0.79, 0.8, 0.95, 0.81, 0.79, 0.8)]
    assert told == [False, False, True, False, False, False, True]
    assert storage.note(REGISTRY, 1.0)


@pytest.mark.parametrize("stream", [REQUESTS, TRANSCRIPT])
def test_new_messages_are_refused_from_nine_tenths_on_until_it_is_less(stream: str) -> None:
    storage = Storage()
    seen = []
    for ratio in (0.89, 0.9, 1.2, 0.89):
        storage.note(stream, ratio)
        seen.append(storage.full)
    assert seen == [None, stream, stream, None]


def test_streams_that_a_message_does_not_need_refuse_none() -> None:
    storage = Storage()
    storage.note(DEAD_LETTERS, 1.0)
    storage.note(REGISTRY, 1.0)
    assert storage.full is None
    assert storage.is_tight


def test_stream_without_a_limit_is_never_full() -> None:
    assert fill_ratio({"config": {"max_bytes": -1}, "state": {"bytes": 10**12}}) == 0
    assert fill_ratio({"config": {"max_bytes": 200}, "state": {"bytes": 50}}) == 0.25


def test_silence_is_an_alarm_once_until_something_is_stored_and_by_stream() -> None:
    silence = Silence()
    assert silence.unanswered(TRANSCRIPT, 10.0, 11.5) is None
    assert silence.unanswered(REQUESTS, 13.0, 14.5) is None
    assert silence.unanswered(TRANSCRIPT, 13.0, 10.0 + NOT_STORING_SECONDS) == NOT_STORING_SECONDS
    assert silence.unanswered(TRANSCRIPT, 14.0, 99.0) is None
    assert not silence.stored(REQUESTS)
    assert silence.stored(TRANSCRIPT)
    assert not silence.stored(TRANSCRIPT)
    assert silence.unanswered(TRANSCRIPT, 100.0, 101.5) is None, "counted anew"


def test_every_subject_that_is_stored_with_an_acknowledgement_has_its_stream() -> None:
    name = Token("x")
    assert stream_of(subjects.execute(name)) == REQUESTS
    assert stream_of(subjects.claim(name)) == stream_of(subjects.stop(name, name)) == TRANSCRIPT
    assert stream_of(subjects.registry(name, name)) == REGISTRY
    assert stream_of(subjects.dead_letter(name)) == DEAD_LETTERS
