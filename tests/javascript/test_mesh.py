"""The browser's client against a mesh: say, resume, stop; and one connection for all tabs."""

from __future__ import annotations

import pytest

from tests.faults.support import count_text
from tests.javascript.programs import running, said
from tests.javascript.world import COUNT, PACE, SHARED, TOLD, is_exact, served, text, whole, world
from tests.support.broker import Broker
from tests.support.models import HELD_TOKENS, gate, models
from tests.support.reading import post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


async def test_answer_is_told_as_it_grows_and_checked_at_its_end(broker: Broker) -> None:
    async with world(broker) as here:
        first, last = await said("say", here.url, text="a b c", say={"model": "echo", "messageId": "m1"})
    assert first == {"messageId": "m1"}
    assert last == {"text": "a b c", "isVerified": True, "updates": 4, "finishReason": "stop"}


@pytest.mark.slow
async def test_answer_that_is_stopped_ends_at_the_server(broker: Broker) -> None:
    say = {**PACE, "messageId": "m", "tokens_per_second": 20}
    async with world(broker) as here:
        _, last = await said("say", here.url, text="count", say=say, stopAfter=3)
        told = (await here.http.get("/v1/sessions/s/messages/m")).json()
    assert last["finishReason"] == "cancelled"
    assert (told["status"], told["content"]) == ("stopped", last["text"])
    assert len(last["text"]) < len(TOLD)


async def test_message_that_is_refused_is_an_error_with_its_reason(broker: Broker) -> None:
    async with world(broker) as here:
        (told,) = await said("say", here.url, text="hello", say={"model": "oracle"})
    assert (told["name"], told["status"], told["code"]) == ("ChatmeshError", 422, "unknown_model")
    assert "oracle" in told["message"]


@pytest.mark.slow
async def test_cut_again_and_again_it_hears_every_chunk_once(broker: Broker) -> None:
    async with world(broker) as here, running("follow", here.url) as program:
        await program.says(lambda: program.heard("link"))
        await post(here.http, "s", **(PACE | {"tokens_per_second": 15}))
        for connects in (1, 2, 3):
            # Whenever it is served again; at the end of the answer too, if it took that long.
            await program.says(
                lambda connects=connects: served(program) == connects and len(program.ids()) > 5
            )
            here.proxy.cut()
        await program.says(lambda: served(program) == 4 and whole(program))
    assert text(program) == TOLD
    assert program.ids() == list(range(COUNT + 1))
    assert is_exact(program)
    assert program.heard("chunk")[-1]["isVerified"] is True


async def test_history_comes_first_and_the_stream_goes_on_behind_it(broker: Broker) -> None:
    async with world(broker, models("held")) as here:
        go_on = gate()
        await post(here.http, "s", model="held")

        async def has_begun() -> bool:
            answer = await here.http.get("/v1/sessions/s/messages")
            return answer.status_code == 200 and len(answer.json()["messages"][-1]["content"]) > 20

        await eventually(has_begun)
        async with running("follow", here.url, follow={"history": True}) as program:
            await program.says(lambda: program.heard("history"))
            go_on.set()
            await program.says(lambda: whole(program))
    (history,) = program.heard("history")
    begun = history["rows"][1]["content"]
    assert begun
    assert begun + text(program) == count_text(HELD_TOKENS)
    assert program.heard("chunk")[-1]["isVerified"] is True


async def test_tabs_of_a_session_share_one_connection_and_hear_the_same(broker: Broker) -> None:
    async with world(broker) as here, running("follow", here.url, tabs=3, **SHARED) as program:
        await program.says(lambda: all(program.heard("link", tab=tab) for tab in range(3)))
        await here.has_readers(1)
        await post(here.http, "s", **PACE)
        await program.says(lambda: all(whole(program, tab) for tab in range(3)))
        assert await here.readers() == 1
    for tab in range(3):
        assert program.ids(tab) == list(range(COUNT + 1))
        assert is_exact(program, tab)
        assert program.heard("chunk", tab=tab)[-1]["isVerified"] is True


@pytest.mark.slow
async def test_when_the_tab_that_reads_is_closed_another_one_goes_on(broker: Broker) -> None:
    async with world(broker) as here, running("follow", here.url, tabs=3, **SHARED) as program:
        await program.says(lambda: all(program.heard("link", tab=tab) for tab in range(3)))
        await here.has_readers(1)
        await post(here.http, "s", **PACE)
        await program.says(lambda: len(program.ids(2)) > 20)
        program.tell(0, "close")  # it came first, so it holds the lock
        await program.says(lambda: program.heard("end"))
        await program.says(lambda: len(program.ids(2)) > 60)
        program.tell(1, "close")
        await program.says(lambda: whole(program, 2))
        await here.has_readers(1)
    assert program.ids(2) == list(range(COUNT + 1))
    assert is_exact(program, 2)
    assert not whole(program, 0)


async def test_tab_that_comes_in_mid_answer_joins_without_a_second_connection(broker: Broker) -> None:
    async with world(broker) as here, running("follow", here.url, **SHARED) as program:
        await program.says(lambda: program.heard("link"))
        await post(here.http, "s", **PACE)
        await program.says(lambda: len(program.ids()) > 20)
        program.tell(1, "open")
        await program.says(lambda: whole(program, 0) and whole(program, 1))
        assert await here.readers() == 1
    (history,) = program.heard("history", tab=1)
    assert history["rows"][1]["content"] + text(program, 1) == TOLD
    assert program.ids() == list(range(COUNT + 1))
    assert is_exact(program)
    assert is_exact(program, 1)


@pytest.mark.slow
async def test_connection_that_one_tab_breaks_comes_back_for_all(broker: Broker) -> None:
    async with world(broker) as here, running("follow", here.url, tabs=2, **SHARED) as program:
        await program.says(lambda: all(program.heard("link", tab=tab) for tab in range(2)))
        await here.has_readers(1)
        await post(here.http, "s", **PACE)
        await program.says(lambda: len(program.ids(1)) > 20)
        program.tell(1, "cut")  # the one that is told, not the one that reads
        await program.says(lambda: whole(program, 0) and whole(program, 1))
    for tab in range(2):
        assert program.ids(tab) == list(range(COUNT + 1))
        assert is_exact(program, tab)
        assert [line["isLive"] for line in program.heard("link", tab=tab)] == [True, False, True]


@pytest.mark.slow
async def test_callers_who_are_not_the_same_share_nothing(broker: Broker) -> None:
    tokens = ["", "one", "another", "one"]
    async with (
        world(broker) as here,
        running("follow", here.url, tabs=4, tokens=tokens, **SHARED) as program,
    ):
        await program.says(lambda: all(program.heard("link", tab=tab) for tab in range(4)))
        await here.has_readers(3)


@pytest.mark.slow
async def test_tab_that_is_slow_holds_up_no_other_and_loses_nothing(broker: Broker) -> None:
    many = 12_000
    async with (
        world(broker) as here,
        running(
            "follow", here.url, tabs=2, slowly=20, **SHARED
        ) as program,  # the first one, which reads for both: four minutes
    ):
        await program.says(lambda: all(program.heard("link", tab=tab) for tab in range(2)))
        await post(here.http, "s", model="count", max_tokens=many)
        await program.says(lambda: whole(program, 1))
        assert not whole(program, 0)
        program.tell(0, "hurry")
        await program.says(lambda: whole(program, 0))
    for tab in range(2):
        assert program.ids(tab) == list(range(many + 1))
