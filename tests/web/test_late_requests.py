"""Silent, half-sent and endless requests end in time, and nobody else notices."""

from __future__ import annotations

import asyncio

import pytest

from tests.web.serving import PATIENCE_SECONDS, Serving, late, serving

pytestmark = pytest.mark.slow

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_HEAD = b"GET /ok HTTP/1.1\r\nHost: x\r\nX-More: "
HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
CHUNKS = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE_BODY = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
WHOLE_CHUNKED = CHUNKS + b"2\r\n{}\r\n0\r\n\r\n"
HALF_CHUNKED = CHUNKS + b"10\r\n{"
UNREAD_BODY = b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"

OFTEN = 0.02
"""Seconds between two bytes of one who dribbles: far more often than the limit, so that any byte would renew it."""


async def outlast_the_limit(served: Serving) -> None:
    """Until a connection that was opened just now has been closed for its silence: then everything older is past the
    limit too."""
    fresh = await served.connect()
    assert await fresh.rest() == b""
    await fresh.close()


async def test_silent_connection_is_closed_without_a_word() -> None:
    before = late("silent")
    async with serving() as served:
        wire = await served.connect()
        assert await wire.rest() == b""
        await wire.close()
    assert late("silent") == before + 1


async def test_half_sent_head_is_answered_408_and_closed() -> None:
    before = late("head")
    async with serving() as served:
        wire = await served.connect(HALF_HEAD)
        reply = await wire.reply()
        assert (reply.status, reply.problem["code"]) == (408, "request_timeout")
        assert reply.headers["connection"] == "close"
        assert reply.headers["server"] == "chatmesh"
        assert await wire.rest() == b""
        await wire.close()
    assert late("head") == before + 1


async def test_head_that_dribbles_in_is_closed_however_busy_it_looks() -> None:
    async with serving() as served:
        wire = await served.connect(HALF_HEAD)
        assert b" 408 " in await wire.dribble(b"a", every_seconds=OFTEN)
        await wire.close()


async def test_endless_headers_are_refused() -> None:
    async with serving(request_timeout_seconds=60) as served:
        wire = await served.connect(b"GET /ok HTTP/1.1\r\nHost: x\r\n")
        assert (await wire.dribble(b"X-Header: value\r\n", every_seconds=0)).startswith(b"HTTP/1.0 400 ")
        await wire.close()


async def test_half_of_a_later_head_is_closed_too() -> None:
    async with serving() as served:
        wire = await served.connect(GET)
        assert (await wire.reply()).status == 200
        wire.send(HALF_HEAD)
        assert (await wire.reply()).status == 408
        assert await wire.rest() == b""
        await wire.close()


AHEAD = {
    "without a body": GET,
    "with a body": WHOLE_BODY,
    "in chunks": WHOLE_CHUNKED,
    "three": GET + WHOLE_BODY + WHOLE_CHUNKED,
    "more than are taken at once": 150 * GET,
    "an upgrade that is declined": GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("half", [HALF_HEAD, HALF_HEAD[:-8], b"G"], ids=["header", "line", "letter"])
@pytest.mark.parametrize("ahead", AHEAD)
async def test_half_of_a_head_behind_a_whole_request_is_answered_408_and_closed(
    ahead: str, half: bytes
) -> None:
    before = late("head")
    async with serving() as served:
        wire = await served.connect(AHEAD[ahead] + half)
        for _ in range(AHEAD[ahead].count(b"Host:")):
            assert (await wire.reply()).status == 200
        reply = await wire.reply()
        assert (reply.status, reply.problem["code"]) == (408, "request_timeout")
        assert await wire.rest() == b""
        await wire.close()
    assert late("head") == before + 1


@pytest.mark.parametrize("cut", [1, 10])
@pytest.mark.parametrize("ahead", [*AHEAD, "blank lines behind"])
async def test_idle_connection_is_kept_however_its_requests_came(ahead: str, cut: int) -> None:
    """In two parts, of which the second ends the last request."""
    sent = AHEAD.get(ahead, GET + b"\r\n\r\n")
    async with serving() as served:
        wire = await served.connect(sent[:-cut])
        await asyncio.sleep(0)
        wire.send(sent[-cut:])
        for _ in range(sent.count(b"Host:")):
            assert (await wire.reply()).status == 200
        await outlast_the_limit(served)
        wire.send(GET)
        assert (await wire.reply()).status == 200
        await wire.close()


@pytest.mark.parametrize("sent", [HALF_BODY, HALF_CHUNKED], ids=["length", "chunked"])
async def test_half_sent_body_is_answered_408_and_closed(sent: bytes) -> None:
    before = late("body")
    async with serving() as served:
        wire = await served.connect(sent)
        reply = await wire.reply()
        assert (reply.status, reply.problem["code"]) == (408, "request_timeout")
        assert await wire.rest() == b""
        await wire.close()
    assert late("body") == before + 1


async def test_body_that_dribbles_in_is_closed_however_busy_it_looks() -> None:
    async with serving() as served:
        wire = await served.connect(HALF_BODY.replace(b"100", b"90000"))
        assert b" 408 " in await wire.dribble(b" ", every_seconds=OFTEN)
        await wire.close()


@pytest.mark.parametrize("chunk", [b"1\r\n \r\n", b"1;", b"1"], ids=["chunks", "extension", "size"])
async def test_chunked_body_without_an_end_is_closed_however_busy_it_looks(chunk: bytes) -> None:
    async with serving() as served:
        wire = await served.connect(CHUNKS)
        assert (await wire.dribble(chunk, every_seconds=OFTEN)).startswith(
            (b"HTTP/1.1 408 ", b"HTTP/1.1 400 ")
        )
        await wire.close()


async def test_chunked_body_without_an_end_is_refused_by_its_size_and_closed() -> None:
    async with serving(request_timeout_seconds=60) as served:
        wire = await served.connect(CHUNKS)
        said = await wire.dribble(b"1000\r\n" + 4096 * b" " + b"\r\n", every_seconds=0)
        assert said.startswith(b"HTTP/1.1 413 ")
        await wire.close()


async def test_body_that_nobody_asked_for_ends_in_time_and_is_answered_once() -> None:
    async with serving() as served:
        wire = await served.connect(UNREAD_BODY.replace(b"100", b"90000"))
        assert (await wire.dribble(b" ", every_seconds=OFTEN)).count(b"HTTP/1.1 ") == 1
        await wire.close()


async def test_connection_goes_on_after_a_body_that_came_behind_its_answer() -> None:
    async with serving() as served:
        wire = await served.connect(UNREAD_BODY)
        assert (await wire.reply()).status == 200
        wire.send(b" " * 99)
        await outlast_the_limit(served)
        wire.send(GET)
        assert (await wire.reply()).status == 200
        await wire.close()


async def test_idle_connection_is_kept_between_requests() -> None:
    async with serving() as served:
        wire = await served.connect(GET)
        assert (await wire.reply()).status == 200
        await outlast_the_limit(served)
        wire.send(GET)
        assert (await wire.reply()).status == 200
        await wire.close()


async def test_open_stream_outlasts_the_limit() -> None:
    async with serving() as served:
        wire = await served.connect(GET.replace(b"/ok", b"/stream"))
        while await wire.line() != b": open\n":
            pass
        await outlast_the_limit(served)
        served.held.release.set()
        lines = [await wire.line() for _ in range(7)]
        assert b"data: last\n" in lines
        await wire.close()


async def test_long_answer_outlasts_the_limit() -> None:
    async with serving() as served:
        wire = await served.connect(GET.replace(b"/ok", b"/slow"))
        await outlast_the_limit(served)
        served.held.release.set()
        assert (await wire.reply()).status == 200
        await wire.close()


async def test_requests_sent_ahead_are_all_answered() -> None:
    async with serving() as served:
        wire = await served.connect(GET.replace(b"/ok", b"/slow") + 3 * GET + HALF_HEAD)
        await outlast_the_limit(served)
        served.held.release.set()
        assert [(await wire.reply()).status for _ in range(4)] == [200] * 4
        wire.send(b"done\r\n\r\n")
        assert (await wire.reply()).status == 200
        await wire.close()


async def test_two_hundred_of_them_hurt_nobody_and_are_all_closed_and_counted() -> None:
    kinds = {"silent": b"", "head": HALF_HEAD, "body": HALF_BODY}
    before = {kind: late(kind) for kind in kinds}
    async with serving() as served:
        good = await served.connect(GET)
        assert (await good.reply()).status == 200
        bad = [await served.connect(sent) for sent in [*kinds.values()] * 67]
        for _ in range(20):
            good.send(GET)
            assert (await good.reply()).status == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await asyncio.gather(*(wire.rest() for wire in bad))
        good.send(GET)
        assert (await good.reply()).status == 200
        for wire in [good, *bad]:
            await wire.close()
    assert [said[0], *(text[:13] for text in said[1:3])] == [b"", b"HTTP/1.1 408 ", b"HTTP/1.1 408 "]
    assert {kind: late(kind) - before[kind] for kind in kinds} == dict.fromkeys(kinds, 67.0)


async def test_draining_does_not_wait_for_silent_and_half_sent_requests() -> None:
    async with serving(request_timeout_seconds=3600) as served:
        wires = [await served.connect(sent) for sent in (b"", HALF_HEAD)]
        good = await served.connect(GET)
        assert (await good.reply()).status == 200
    for wire in [*wires, good]:
        assert await wire.rest() == b""
        await wire.close()
