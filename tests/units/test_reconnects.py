"""Which server is tried next after a loss, and when it is enough."""

from __future__ import annotations

import pytest

from chatmesh.broker.reconnects import FOR_EVER, Reconnects

A, B = "a:4222", "b:4222"


def tries(reconnects: Reconnects, *servers: str, most: int = 100) -> list[str]:
    """The servers that are tried, in their order, until it gives up."""
    found = []
    while len(found) < most and (chosen := reconnects.next(servers)) is not None:
        found.append(chosen[0])
    return found


def test_each_server_is_tried_so_often_in_turns_and_then_it_is_over() -> None:
    reconnects = Reconnects(2)
    assert tries(reconnects, A, B) == [A, B, A, B]
    assert reconnects.is_over


def test_none_granted_is_none_tried() -> None:
    reconnects = Reconnects(0)
    assert tries(reconnects, A, B) == []
    assert reconnects.is_over


def test_for_ever_has_no_end() -> None:
    reconnects = Reconnects(FOR_EVER)
    assert len(tries(reconnects, A, most=1000)) == 1000
    for _ in range(10):
        reconnects.add_round([A])
    assert not reconnects.is_over


def test_first_round_does_not_wait_and_the_others_do() -> None:
    reconnects = Reconnects(FOR_EVER)
    chosen = [reconnects.next([A, B]) for _ in range(4)]
    assert chosen == [(A, False), (B, False), (A, True), (B, True)]


def test_what_was_tried_before_a_connection_does_not_count_after_it() -> None:
    """Of no server: neither of the one that answered nor of another one."""
    reconnects = Reconnects(2)
    for _ in range(10):
        assert [reconnects.next([A, B]) for _ in range(3)] == [(A, False), (B, False), (A, True)]
        reconnects.begin_anew()
    assert not reconnects.is_over


def test_server_that_was_discovered_later_gets_its_tries() -> None:
    reconnects = Reconnects(1)
    assert tries(reconnects, A) == [A]
    assert tries(reconnects, A, B) == [B]


@pytest.mark.parametrize("most", [1, 3])
def test_clients_made_anew_count_as_rounds(most: int) -> None:
    reconnects = Reconnects(most)
    for _ in range(most):
        assert not reconnects.is_over
        reconnects.add_round([A, B])
    assert reconnects.is_over
