"""Who lives, as far as heartbeats tell."""

from __future__ import annotations

import pytest

from chatmesh.presence.roster import MISSED_BEATS, Roster
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import Token

INTERVAL = 5.0
SILENCE = MISSED_BEATS * INTERVAL
POD = Token("pod-1")


def beat(
    name: str = "pod-1", *, boot: str = "b1", status: str = "healthy", models: tuple[str, ...] | None = None
) -> HeartbeatMessage:
    role = "pod" if models is None else "worker"
    return HeartbeatMessage(role, Token(name), "t", boot=boot, status=status, models=models or ())


def heard(*beats: tuple[HeartbeatMessage, float]) -> Roster:
    roster = Roster(INTERVAL)
    for heartbeat, now in beats:
        roster.hear(heartbeat, now)
    return roster


@pytest.mark.parametrize(
    ("beats", "boot", "now", "is_dead"),
    [
        pytest.param([], "b1", 0.0, False, id="one never heard of counts as alive"),
        pytest.param([(beat(), 0.0)], "b1", SILENCE, False, id="silent, not yet for too long"),
        pytest.param([(beat(), 0.0)], "b1", SILENCE + 0.1, True, id="silent for too long"),
        pytest.param([(beat(), 0.0), (beat(), SILENCE)], "b1", SILENCE + 1, False, id="back in time"),
        pytest.param([(beat(status="stopped"), 0.0)], "b1", 0.0, True, id="said goodbye"),
        pytest.param([(beat(status="draining"), 0.0)], "b1", 0.0, False, id="a leaving one still reads"),
        pytest.param([(beat(boot="b2"), 0.0)], "b1", 0.0, True, id="beats in another life"),
        pytest.param([(beat(boot=""), 0.0)], "b1", 0.0, False, id="somebody else's pod has no boot"),
    ],
)
def test_a_pods_life_is_known_to_be_over(
    beats: list[tuple[HeartbeatMessage, float]], boot: str, now: float, is_dead: bool
) -> None:
    assert heard(*beats).is_dead(POD, boot, now) is is_dead


def test_a_worker_of_the_same_name_is_not_the_pod() -> None:
    roster = heard((beat(models=(), status="stopped"), 0.0))
    assert not roster.is_dead(POD, "b1", 0.0)


def test_an_older_heartbeat_does_not_replace_a_newer_one() -> None:
    roster = heard((beat(boot="b2"), 10.0), (beat(boot="b1"), 3.0))
    assert roster.is_dead(POD, "b1", 10.0)
    assert not roster.is_dead(POD, "b2", 10.0)


def test_the_living_are_those_of_the_role_who_were_heard_and_have_not_left() -> None:
    roster = heard(
        (beat("w1", models=("count",)), 0.0),
        (beat("w2", models=("echo",)), 10.0),
        (beat("w3", models=("demo",), status="stopped"), 10.0),
        (beat("p1"), 10.0),
    )
    assert {one.id for one in roster.living("worker", 12.0)} == {"w1", "w2"}
    assert {one.id for one in roster.living("worker", SILENCE + 1)} == {"w2"}
    assert {one.id for one in roster.living("pod", 12.0)} == {"p1"}


def test_the_models_served_are_those_of_living_workers() -> None:
    roster = heard((beat("w1", models=("count", "echo")), 0.0), (beat("w2", models=("echo", "demo")), 10.0))
    assert roster.models(5.0) == {"count", "echo", "demo"}
    assert roster.models(SILENCE + 1) == {"echo", "demo"}


def test_without_a_living_worker_no_model_can_be_refused() -> None:
    assert Roster(INTERVAL).models(0.0) is None
    assert heard((beat("w1", models=("count",)), 0.0)).models(SILENCE + 1) is None


def test_a_worker_without_models_is_no_lack_of_workers() -> None:
    assert heard((beat("w1", models=()), 0.0)).models(0.0) == set()


def test_who_never_comes_back_takes_no_memory() -> None:
    roster = heard((beat("w1", models=("count",)), 0.0), (beat("p1", boot="b2"), 100 * SILENCE))
    roster.forget_silent(100 * SILENCE + 1)
    assert not roster.is_dead(Token("w1"), "any", 100 * SILENCE + 1)
    assert roster.is_dead(Token("p1"), "b1", 100 * SILENCE + 1)


@pytest.mark.parametrize(
    ("own", "living", "neighbour"),
    [
        pytest.param("b", ["a", "b", "c"], "c", id="the next by name"),
        pytest.param("c", ["a", "b", "c"], "a", id="the last watches the first"),
        pytest.param("a", ["a"], None, id="nobody watches oneself"),
        pytest.param("b", ["a", "c"], "c", id="one who was not heard of yet has a place too"),
    ],
)
def test_workers_watch_each_other_in_a_ring(own: str, living: list[str], neighbour: str | None) -> None:
    roster = heard(*[(beat(name, models=()), 0.0) for name in living])
    found = roster.next_worker(Token(own), 1.0)
    assert (found.id if found else None) == neighbour


def test_worker_that_was_found_dead_is_not_watched_and_lives_again_with_its_next_heartbeat() -> None:
    roster = heard((beat("a", models=()), 0.0), (beat("b", models=()), 0.0))
    roster.lose("worker", Token("b"), "another life")
    assert roster.next_worker(Token("a"), 1.0) is not None
    roster.lose("worker", Token("b"), "b1")
    assert roster.next_worker(Token("a"), 1.0) is None
    roster.hear(beat("b", boot="b2", models=()), 2.0)
    assert roster.next_worker(Token("a"), 3.0) is not None


def test_the_neighbour_is_the_next_who_lives_and_who_comes_late_takes_the_place_of_its_name() -> None:
    roster = heard(*[(beat(name, models=()), 0.0) for name in ("d", "a", "c")])
    roster.hear(beat("b", models=()), SILENCE)
    roster.hear(beat("c", models=(), status="stopped"), SILENCE)
    roster.hear(beat("b-pod"), SILENCE)

    def neighbour(own: str, now: float) -> str | None:
        found = roster.next_worker(Token(own), now)
        return found.id if found else None

    assert neighbour("a", SILENCE) == "b"
    assert neighbour("b", SILENCE) == "d"
    assert neighbour("b", SILENCE + 1) is None
    roster.forget_silent(100 * SILENCE + 1)  # all but those two are forgotten
    assert neighbour("a", SILENCE + 1) == "b"


def test_which_models_are_served_is_known_at_once_when_somebody_comes_or_goes() -> None:
    """And is not reckoned anew for each message in between."""
    roster = heard((beat("w1", models=("count",)), 0.0))
    assert roster.models(0.0) == {"count"}
    roster.hear(beat("w2", models=("echo",)), 0.1)
    assert roster.models(0.1) == {"count", "echo"}
    roster.hear(beat("w2", models=("demo",)), 0.2)
    assert roster.models(0.2) == {"count", "demo"}
    roster.lose("worker", Token("w1"), beat("w1").boot)
    assert roster.models(0.3) == {"demo"}
