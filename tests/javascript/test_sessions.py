"""The browser's client: tabs on many sessions share one connection, and each hears its own session whole."""

from __future__ import annotations

import pytest

from chatmesh.hub import SeveralStreams
from tests.auth.support import HS, bearer, say, token
from tests.javascript.programs import Program, running
from tests.javascript.world import COUNT, PACE, SHARED, World, is_exact, whole, world
from tests.support.broker import Broker
from tests.support.reading import post

pytestmark = pytest.mark.slow

SEVEN = [f"s{number}" for number in range(7)]
"""One more than a browser has connections to an origin."""


async def are_up(here: World, program: Program, tabs: int, connections: int = 1) -> None:
    await program.says(lambda: all(program.heard("link", tab=tab) for tab in range(tabs)))
    await here.has_readers(connections)


async def say_in_each(here: World, sessions: list[str]) -> None:
    for session in sessions:
        await post(here.http, session, **PACE)


def has_all(program: Program, tab: int) -> bool:
    """Every chunk of one answer, each once."""
    is_checked = program.heard("chunk", tab=tab)[-1]["isVerified"] is True
    return program.ids(tab) == list(range(COUNT + 1)) and is_exact(program, tab) and is_checked


async def test_seven_tabs_on_seven_sessions_share_one_connection(broker: Broker) -> None:
    async with (
        world(broker) as here,
        running("follow", here.url, tabs=7, sessions=SEVEN, **SHARED) as program,
    ):
        await are_up(here, program, 7)
        await say_in_each(here, SEVEN)
        await program.says(lambda: all(whole(program, tab) for tab in range(7)))
        assert await here.readers() == 1
    assert all(has_all(program, tab) for tab in range(7))


async def test_sessions_that_come_and_go_in_mid_answer_cost_the_others_nothing(broker: Broker) -> None:
    sessions = ["s", "a", "b", "s"]
    async with (
        world(broker) as here,
        running("follow", here.url, sessions=sessions, **SHARED) as program,
    ):
        await are_up(here, program, 1)
        await say_in_each(here, ["s"])
        await program.says(lambda: len(program.ids()) > 10)
        program.tell(1, "open")
        await program.says(lambda: program.heard("link", tab=1))
        program.tell(2, "open")
        program.tell(3, "open")
        await program.says(lambda: len(program.heard("link", tab=2) + program.heard("link", tab=3)) == 2)
        program.tell(1, "close")
        await program.says(lambda: whole(program) and whole(program, 3))
        await here.has_readers(1)
        links = [line["isLive"] for line in program.heard("link")]
    assert has_all(program, 0)
    assert links == [True], "the old connection is closed when the new one is there"


async def test_when_the_tab_that_reads_is_closed_another_one_reads_for_all(broker: Broker) -> None:
    sessions = [*SEVEN[:3], SEVEN[2]]
    async with (
        world(broker) as here,
        running("follow", here.url, tabs=4, sessions=sessions, **SHARED) as program,
    ):
        await are_up(here, program, 4)
        await say_in_each(here, SEVEN[:3])
        await program.says(lambda: all(len(program.ids(tab)) > 20 for tab in range(4)))
        program.tell(0, "close")  # it came first, so it holds the lock
        await program.says(lambda: all(whole(program, tab) for tab in (1, 2, 3)))
        await here.has_readers(1)
    assert all(has_all(program, tab) for tab in (1, 2, 3))
    assert not whole(program, 0)


async def test_cut_again_and_again_each_session_hears_every_chunk_once(broker: Broker) -> None:
    async with (
        world(broker) as here,
        running("follow", here.url, tabs=3, sessions=SEVEN[:3], **SHARED) as program,
    ):
        await are_up(here, program, 3)
        await say_in_each(here, SEVEN[:3])
        for most in (20, 70):
            await program.says(lambda most=most: all(len(program.ids(tab)) > most for tab in range(3)))
            here.proxy.cut()
        await program.says(lambda: all(whole(program, tab) for tab in range(3)))
    assert all(has_all(program, tab) for tab in range(3))


async def test_session_of_somebody_else_is_refused_to_its_tab_alone(broker: Broker) -> None:
    who = token("bob")
    async with world(broker, *HS) as here:
        for session, owner in (("s0", "bob"), ("s1", "alice"), ("s2", "bob")):
            await say(here.http, owner, session)
        options = {"share": True, "token": who}
        follow = {"from": "start"}
        here.http.headers.update(bearer(token("operator", scope="operate")))
        async with running(
            "follow", here.url, tabs=3, sessions=SEVEN, options=options, follow=follow
        ) as program:
            await program.says(lambda: program.heard("error", tab=1) and whole(program) and whole(program, 2))
            await here.has_readers(1)
    (told,) = program.heard("error", tab=1)
    assert (told["status"], told["code"]) == (404, "unknown_session")
    assert not program.heard("chunk", tab=1)
    assert not program.heard("error")


async def test_older_pod_gets_a_connection_for_each_session(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SeveralStreams, "routes", [])
    async with (
        world(broker) as here,
        running("follow", here.url, tabs=4, sessions=["a", "b", "c", "c"], **SHARED) as program,
    ):
        await are_up(here, program, 4, connections=3)
        await say_in_each(here, ["a", "b", "c"])
        await program.says(lambda: all(whole(program, tab) for tab in range(4)))
    assert all(has_all(program, tab) for tab in range(4))


async def test_tickets_are_for_one_session_each(broker: Broker) -> None:
    options = {"share": True, "ticket": True}
    async with (
        world(broker) as here,
        running("follow", here.url, tabs=2, sessions=["a", "b"], options=options) as program,
    ):
        await are_up(here, program, 2, connections=2)
