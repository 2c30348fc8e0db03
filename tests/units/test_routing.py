"""Which pods get a batch: what was heard is newer than what was read, whichever comes first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.broker import Holder
from chatmesh.protocol.tokens import Token
from chatmesh.relay.routing import Route
from tests.units.made import SESSION


def holds(pod: str, boot: str = "b1") -> Holder:
    return Holder(SESSION, Token(pod), boot)


def leaves(pod: str, boot: str = "b1") -> Holder:
    return Holder(SESSION, Token(pod), boot, is_released=True)


def all_alive(pod_id: Token, boot: str) -> bool:
    return False


def targets(route: Route) -> list[str]:
    return [str(pod) for pod in route.targets(all_alive)]


def test_without_a_known_pod_there_is_no_target() -> None:
    assert targets(Route()) == []


def test_what_the_registry_had_is_known() -> None:
    route = Route()
    route.learn([holds("a"), holds("b")])
    assert targets(route) == ["a", "b"]


def test_a_pod_that_left_while_the_registry_was_read_stays_gone() -> None:
    route = Route()
    route.hear(leaves("a"))
    route.learn([holds("a")])
    assert targets(route) == []


def test_a_pod_that_came_while_the_registry_was_read_stays() -> None:
    route = Route()
    route.hear(holds("a"))
    route.learn([])
    assert targets(route) == ["a"]


def test_a_pod_that_came_in_a_new_life_is_not_set_back_to_its_old_one() -> None:
    route = Route()
    route.hear(holds("a", "b2"))
    route.learn([holds("a", "b1")])
    assert route.targets(lambda pod, boot: boot == "b1") == ["a"]


def test_a_pod_that_came_while_the_registry_is_away_is_not_the_only_target() -> None:
    route = Route()
    route.hear(holds("a"))
    assert targets(route) == []


def test_a_late_goodbye_of_an_old_life_does_not_end_the_new_one() -> None:
    route = Route()
    route.learn([])
    route.hear(holds("a", "b2"))
    route.hear(leaves("a", "b1"))
    assert targets(route) == ["a"]


def test_a_pod_that_left_and_came_back_is_a_target_again() -> None:
    route = Route()
    for change in (holds("a"), leaves("a"), holds("a")):
        route.hear(change)
    route.learn([holds("a")])
    assert targets(route) == ["a"]


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_dead_pod_is_no_target_and_keeps_no_other_from_being_one(is_heard: bool) -> None:
    route = Route()
    route.learn([])
    for holder in (holds("a"), holds("b")):
        if is_heard:
            route.hear(holder)
        else:
            route.learn([holder])
    assert route.targets(lambda pod, boot: (pod, boot) == ("a", "b1")) == ["b"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12), st.integers(0, 12))
@settings(deadline=None)
def test_whenever_the_registry_is_read_the_last_word_of_each_pod_counts(
    words: list[tuple[str, bool]], read_at: int
) -> None:
    route, registry = Route(), dict[str, bool]()
    for pod, is_holding in words[:read_at]:  # before anybody listened
        registry[pod] = is_holding
    snapshot = [holds(pod) for pod, is_holding in registry.items() if is_holding]
    for pod, is_holding in words[read_at:]:  # while the answer is on its way
        registry[pod] = is_holding
        route.hear(holds(pod) if is_holding else leaves(pod))
    route.learn(snapshot)
    assert set(targets(route)) == {pod for pod, is_holding in registry.items() if is_holding}
