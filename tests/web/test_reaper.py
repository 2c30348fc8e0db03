"""Who owes a request's head, and since when."""

from __future__ import annotations

import time

from chatmesh.web.reaper import Reaper


def test_each_is_closed_once_when_its_own_limit_has_passed() -> None:
    closed: list[str] = []
    reaper = Reaper[str](10.0, closed.append)
    start = time.monotonic()
    reaper.expect("a")
    reaper.expect("b")
    reaper.sweep(start + 9)
    assert closed == []
    reaper.sweep(start + 60)
    assert closed == ["a", "b"]
    reaper.sweep(start + 120)
    assert (closed, len(reaper)) == (["a", "b"], 0)


def test_more_bytes_do_not_renew_the_limit() -> None:
    closed: list[str] = []
    reaper = Reaper[str](0.0, closed.append)
    reaper.expect("dribbles")
    now = time.monotonic()
    reaper.expect("dribbles")
    reaper.sweep(now)
    assert closed == ["dribbles"]


def test_one_whose_head_is_complete_is_left_alone() -> None:
    closed: list[str] = []
    reaper = Reaper[str](0.0, closed.append)
    reaper.expect("complete")
    reaper.expect("silent")
    reaper.forget("complete")
    reaper.forget("never seen")
    reaper.sweep(time.monotonic() + 1)
    assert closed == ["silent"]


def test_one_that_closing_another_completes_is_left_alone() -> None:
    closed: list[str] = []

    def close(connection: str) -> None:
        closed.append(connection)
        reaper.forget("b")

    reaper = Reaper[str](0.0, close)
    reaper.expect("a")
    reaper.expect("b")
    reaper.sweep(time.monotonic() + 1)
    assert closed == ["a"]
