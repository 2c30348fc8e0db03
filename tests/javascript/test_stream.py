"""The browser's client hears every event once, whatever becomes of its connections."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.client.scripted import answer, pods, stream, torn
from tests.javascript.programs import PATIENCE_SECONDS, Program, running
from tests.support.waiting import eventually

SOON = "retry: 1\n\n"
PROBLEM = {"code": "unknown_session", "detail": "Nobody has said anything in this session."}


def chunk(number: int, text: str = "", **more: Any) -> str:
    body = {"message_id": "m", "chunk_id": number, "chunk": text, "chunk_type": "content", "is_final": False}
    return f"id: p{number}\ndata: {json.dumps(body | more)}\n\n"


def final(number: int, text: str) -> str:
    """The end of an answer whose text is that."""
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return chunk(number, is_final=True, metadata={"finish_reason": "stop", "digest": digest})


def ended(program: Program) -> bool:
    return any(line["chunk"]["is_final"] for line in program.heard("chunk"))


def failed(program: Program) -> bool:
    return bool(program.heard("error"))


async def test_it_goes_on_at_its_position_when_its_connection_is_cut_in_mid_event() -> None:
    begun = torn(SOON, chunk(0, "a"), chunk(1, "b"), chunk(2, "c")[:20])
    rest = stream(chunk(2, "c"), final(3, "abc"), hold=True)
    async with pods([begun, rest]) as (pod,), running("follow", pod.url) as program:
        await program.says(lambda: ended(program))
    assert program.ids() == [0, 1, 2, 3]
    assert program.heard("chunk")[-1]["isVerified"] is True
    assert [each.headers.get("last-event-id") for each in pod.asked] == [None, "p1"]


@pytest.mark.slow
async def test_position_of_an_opening_block_is_gone_on_from() -> None:
    opening = stream("retry: 1\nid: here\n\n")
    async with (
        pods([opening, stream(final(0, ""), hold=True)]) as (pod,),
        running("follow", pod.url) as program,
    ):
        await program.says(lambda: ended(program))
    assert pod.asked[1].headers["last-event-id"] == "here"


async def test_what_comes_twice_is_dropped_and_counted() -> None:
    again = stream(chunk(0, "a"), chunk(1, "b"), chunk(0, "a"), chunk(1, "b"), final(2, "ab"), hold=True)
    async with pods([again]) as (pod,), running("follow", pod.url) as program:
        await program.says(lambda: ended(program))
    assert program.ids() == [0, 1, 2]
    assert program.heard("chunk")[-1]["count"] == {"first": 0, "last": 2, "lost": 0, "repeated": 2}


@pytest.mark.parametrize(
    "status", [404, *(pytest.param(status, marks=pytest.mark.slow) for status in (401, 429, 500, 502, 503))]
)
async def test_status_of_somebody_in_between_passes_by(status: int) -> None:
    refused = answer(status, None)
    async with (
        pods([refused, stream(final(0, ""), hold=True)]) as (pod,),
        running("follow", pod.url) as program,
    ):
        await program.says(lambda: ended(program))
    assert len(pod.asked) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "told",
    [
        answer(503, {"code": "not_ready"}, Retry_After="60"),
        stream("retry: 60000\nid: p0\n\n"),
        torn("retry: 60000\nid: p0\n\n", chunk(0, "a")),
    ],
    ids=["Retry-After", "end", "cut"],
)
async def test_it_waits_as_long_as_it_was_told(told: bytes) -> None:
    # Another one is told to wait for longer than anybody would by himself, and for less than that.
    other_told = stream("retry: 1500\nid: p0\n\n")
    async with (
        pods([told, other_told, stream(final(1, "a"), hold=True)]) as (pod,),
        running("follow", pod.url),
    ):
        await eventually(lambda: pod.asked, timeout=PATIENCE_SECONDS)
        async with running("follow", pod.url) as other:
            await other.says(lambda: ended(other))
        assert len(pod.asked) == 3


@pytest.mark.slow
async def test_page_of_a_portal_is_no_stream() -> None:
    portal = answer(200, "<h1>Welcome</h1>", Content_Type="text/html")
    async with (
        pods([portal, stream(final(0, ""), hold=True)]) as (pod,),
        running("follow", pod.url) as program,
    ):
        await program.says(lambda: ended(program))


@pytest.mark.parametrize(
    "status", [404, *(pytest.param(status, marks=pytest.mark.slow) for status in (401, 403, 422))]
)
async def test_last_word_of_a_pod_is_an_error_with_its_code(status: int) -> None:
    async with pods([answer(status, PROBLEM)]) as (pod,), running("follow", pod.url) as program:
        await program.says(lambda: failed(program))
    (told,) = program.heard("error")
    assert (told["name"], told["status"], told["code"]) == ("ChatmeshError", status, "unknown_session")
    assert told["message"] == PROBLEM["detail"]
    assert len(pod.asked) == 1


async def test_silence_is_a_dead_connection() -> None:
    silent = stream(SOON, chunk(0, "a"), hold=True)
    async with (
        pods([silent, stream(final(1, "a"), hold=True)]) as (pod,),
        running("follow", pod.url, options={"stallMs": 1500}) as program,
    ):
        await program.says(lambda: ended(program))
    assert pod.asked[1].headers["last-event-id"] == "p0"


@pytest.mark.slow
async def test_whoever_takes_the_events_slowly_is_no_dead_connection() -> None:
    chunks = [chunk(number, "x") for number in range(400)]
    async with (
        pods([stream(SOON, *chunks, final(400, "x" * 400))]) as (pod,),
        running("follow", pod.url, options={"stallMs": 100}, slowly=1) as program,
    ):
        await program.says(lambda: ended(program))
        assert program.ids() == list(range(401))
    assert pod.asked[0].headers.get("last-event-id") is None


async def test_drain_is_no_event_and_a_reset_is_one() -> None:
    leaving = stream(chunk(0, "no"), 'event: drain\nretry: 1\ndata: {"reason": "leaving"}\n\n')
    anew = 'event: reset\nid: r\ndata: {"reason": "attempt", "message_id": "m"}\n\n'
    async with (
        pods([leaving, stream(anew, chunk(1, "yes"), final(2, "yes"), hold=True)]) as (pod,),
        running("follow", pod.url) as program,
    ):
        await program.says(lambda: ended(program))
    assert [line["type"] for line in program.heard("chunk", "reset")] == ["chunk", "reset", "chunk", "chunk"]
    assert (program.heard("reset")[0]["reason"], program.heard("reset")[0]["messageId"]) == ("attempt", "m")
    assert program.heard("chunk")[-1]["isVerified"] is True


async def test_reset_that_comes_twice_takes_back_nothing_that_came_behind_it() -> None:
    anew = 'event: reset\nid: r\ndata: {"reason": "attempt", "message_id": "m"}\n\n'
    told = stream(chunk(0, "no"), anew, chunk(1, "yes"), anew, chunk(1, "yes"), final(2, "yes"), hold=True)
    async with pods([told]) as (pod,), running("follow", pod.url) as program:
        await program.says(lambda: ended(program))
    assert [line["type"] for line in program.heard("chunk", "reset")] == ["chunk", "reset", "chunk", "chunk"]
    assert program.heard("chunk")[-1]["isVerified"] is True
    assert len(pod.asked) == 1


async def test_text_that_is_not_what_was_stored_is_taken_back_and_read_again() -> None:
    hole = stream(chunk(0, "a"), chunk(2, "c"), final(3, "abc"), hold=True)
    whole = stream(chunk(0, "a"), chunk(1, "b"), chunk(2, "c"), final(3, "abc"), hold=True)
    async with pods([hole, whole]) as (pod,), running("follow", pod.url) as program:
        await program.says(lambda: ended(program))
    kinds = [
        line["chunk"]["chunk"] if line["type"] == "chunk" else "reset"
        for line in program.heard("chunk", "reset")
    ]
    assert kinds == ["a", "c", "reset", "a", "b", "c", ""]
    assert program.heard("chunk")[-1]["isVerified"] is True
    assert pod.asked[1].path.endswith("/events?message_id=m")


@pytest.mark.slow
async def test_text_that_stays_another_one_is_told_so_once() -> None:
    wrong = stream(chunk(0, "x"), final(1, "a"), hold=True)
    async with pods([wrong]) as (pod,), running("follow", pod.url) as program:
        await program.says(lambda: ended(program))
    assert program.heard("chunk")[-1]["isVerified"] is False
    assert len(pod.asked) == 2


async def test_token_that_is_too_old_is_asked_for_again() -> None:
    refused = answer(401, {"code": "unauthenticated", "detail": "The token has ended."})
    async with (
        pods([refused, stream(final(0, ""), hold=True)]) as (pod,),
        running("follow", pod.url, options={"token": "fresh"}) as program,
    ):
        await program.says(lambda: ended(program))
    assert [each.headers["authorization"] for each in pod.asked] == ["Bearer old", "Bearer new"]


async def test_each_connection_has_a_ticket_of_its_own_and_no_token() -> None:
    async with (
        pods([stream(SOON, chunk(0, "a")), stream(final(1, "a"), hold=True)]) as (pod,),
        running("follow", pod.url, options={"ticket": True, "token": "secret"}) as program,
    ):
        await program.says(lambda: ended(program))
    assert [each.path.partition("?")[2] for each in pod.asked] == ["ticket=s-1", "ticket=s-2"]
    assert not any("authorization" in each.headers for each in pod.asked)
