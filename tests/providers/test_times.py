"""How long a provider waits for its server, and for its reader: what holds for every one. Real sockets."""

from __future__ import annotations

import asyncio

from tests.providers.asking import begun, closing, failure
from tests.providers.dialects import Dialect
from tests.providers.upstreams import END, STREAM_HEAD, chunked, upstream
from tests.support.waiting import eventually

SHORT = 1.0
"""Long enough that a server on the same busy machine has been asked, or has answered, within it."""


async def test_first_token_that_does_not_come_is_an_error_even_behind_a_head_and_comments(
    dialect: Dialect,
) -> None:
    script = [STREAM_HEAD, chunked(b": alive\n\n"), chunked(dialect.begin), chunked(b": alive\n\n"), None]
    async with (
        upstream(script) as server,
        closing(dialect.provider(server.url, first_token_seconds=SHORT)) as model,
    ):
        error = await failure(model)
        await eventually(lambda: server.left == [True])
    assert (error.code, len(server.asked)) == ("provider_timeout", 1)


async def test_head_that_does_not_come_is_an_error(dialect: Dialect) -> None:
    async with (
        upstream([None]) as server,
        closing(dialect.provider(server.url, first_token_seconds=SHORT)) as model,
    ):
        assert (await failure(model)).code == "provider_timeout"
        await eventually(lambda: server.left == [True])


async def test_silence_between_two_pieces_is_an_error_whatever_comments_come(dialect: Dialect) -> None:
    begin = chunked(dialect.begin + dialect.say("a "))
    script = [STREAM_HEAD, begin, *[chunked(b": alive\n\n")] * 3, None]
    async with upstream(script) as server, closing(dialect.provider(server.url, idle_seconds=SHORT)) as model:
        assert (await failure(model)).code == "provider_timeout"
        await eventually(lambda: server.left == [True])


async def test_answer_that_never_ends_is_ended(dialect: Dialect) -> None:
    begin = chunked(dialect.begin + dialect.say("a "))
    script = [STREAM_HEAD, begin, None]
    async with (
        upstream(script) as server,
        closing(dialect.provider(server.url, total_seconds=SHORT)) as model,
    ):
        assert (await failure(model)).code == "provider_timeout"


async def test_reader_that_takes_its_time_is_not_the_models_silence(dialect: Dialect) -> None:
    go = asyncio.Event()
    script = [STREAM_HEAD, chunked(dialect.begin + dialect.say("a ")), go, chunked(dialect.answer("b")), END]
    async with (
        upstream(script) as server,
        closing(dialect.provider(server.url, idle_seconds=SHORT)) as model,
        begun(model) as deltas,
    ):
        assert (await anext(deltas)).text == "a "
        paused = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() > paused + 2 * SHORT)
        go.set()
        assert (await anext(deltas)).text == "b"


# --- going on ---------------------------------------------------------------------------------------------------------
