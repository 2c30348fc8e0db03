"""When what happened to a message, from claims and records alone."""

from __future__ import annotations

from typing import Any

from chatmesh.console.timeline import Timeline, row
from chatmesh.protocol.records import Claim
from chatmesh.protocol.tokens import Token

S, M = Token("s"), Token("m")


def claim(number: int = 1, worker: str = "w1", message: str = "m", **more: Any) -> Claim:
    first = {"first": 7} if number > 1 else {"first": 0}
    fields = {"base": 0, "offset": 0, "timestamp": "", "boot": "b", "nonce": "n"} | first | more
    return Claim(S, Token(message), Token(worker), attempt=number, **fields)


def rows(timeline: Timeline) -> list[dict[str, Any]]:
    return [dict(row(told)) for told in timeline.latest_first()]


def test_answer_of_one_attempt_is_one_bar_from_its_claim_to_its_end() -> None:
    timeline = Timeline()
    timeline.queued(S, M, 10.0)
    timeline.claimed(claim(), 7, 10.5)
    timeline.begun((S, M), 9.0, 11.0)
    timeline.grown((S, M), 12.0)
    assert [told.key for told in timeline.unfinished] == [(S, M)]
    timeline.grown((S, M), 13.0, "stop")
    (told,) = rows(timeline)
    assert told["accepted_at"] == 10_000, "the queue's own time counts, not the pod's"
    assert (told["first_at"], told["ended_at"], told["outcome"]) == (11_000, 13_000, "stop")
    assert told["attempts"] == [
        {"attempt": 1, "worker_id": "w1", "began_at": 10_500, "ended_at": 13_000, "handed_over": False}
    ]
    assert not timeline.unfinished


def test_who_read_a_message_is_told_as_it_was_when_it_ended() -> None:
    timeline = Timeline()
    timeline.claimed(claim(), 7, 10.0)
    timeline.read_by({S: ["pod-1"]})
    assert rows(timeline)[0]["pods"] == ["pod-1"]
    timeline.grown((S, M), 13.0, "stop")
    timeline.read_by({S: ["pod-1", "pod-2"]})
    assert timeline.unsettled == []
    timeline.read_by({})
    assert rows(timeline)[0]["pods"] == ["pod-1", "pod-2"]


def test_takeover_is_a_bar_of_its_own_and_ends_the_one_before() -> None:
    timeline = Timeline()
    timeline.claimed(claim(1, "w1"), 7, 10.0)
    timeline.claimed(claim(2, "w2"), 9, 14.0)
    (told,) = rows(timeline)
    assert [(each["worker_id"], each["ended_at"]) for each in told["attempts"]] == [
        ("w1", 14_000),
        ("w2", None),
    ]


def test_goodbye_of_a_worker_ends_its_bar_and_is_no_attempt() -> None:
    timeline = Timeline()
    timeline.claimed(claim(1, "w1"), 7, 10.0)
    timeline.claimed(claim(1, "w1", handed_over=True, first=7), 8, 12.0)
    timeline.claimed(claim(1, "w2", first=7), 9, 12.5)
    (told,) = rows(timeline)
    assert [(each["worker_id"], each["ended_at"], each["handed_over"]) for each in told["attempts"]] == [
        ("w1", 12_000, True),
        ("w2", None, False),
    ]


def test_pods_clock_that_is_ahead_accepts_nothing_after_it_was_claimed() -> None:
    timeline = Timeline()
    timeline.claimed(claim(), 7, 10.0)
    timeline.begun((S, M), 60.0, 11.0)
    assert rows(timeline)[0]["accepted_at"] == 10_000


def test_what_was_stopped_in_the_queue_has_ended_and_what_left_it_otherwise_is_forgotten() -> None:
    timeline = Timeline()
    for name in ("waits", "stopped", "dead"):
        timeline.queued(S, Token(name), 10.0)
    timeline.claimed(claim(), 7, 10.0)
    timeline.grown((S, Token("stopped")), 12.0, "cancelled")
    timeline.left_queue({(S, Token("waits"))})
    assert {told["message_id"]: told["outcome"] for told in rows(timeline)} == {
        "waits": None,
        "stopped": "cancelled",
        "m": None,
    }


def test_erased_sessions_are_forgotten() -> None:
    timeline = Timeline()
    timeline.claimed(claim(), 7, 10.0)
    timeline.claimed(claim(1, "w2", "erase", erases=True), 8, 11.0)
    assert rows(timeline) == []
    timeline.grown((S, M), 12.0, "stop")
    timeline.begun((S, M), None, 12.0)
    assert rows(timeline) == []


def test_bound_is_kept_and_what_runs_is_kept_longest() -> None:
    timeline = Timeline(limit=3)
    timeline.claimed(claim(message="runs"), 1, 1.0)
    for number in range(2, 8):
        message = f"m{number}"
        timeline.claimed(claim(message=message), number, float(number))
        timeline.grown((S, Token(message)), number + 0.5, "stop")
    assert [told["message_id"] for told in rows(timeline)] == ["m7", "m6", "runs"]
