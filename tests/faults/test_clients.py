"""A worker is killed while it answers every kind of client: each shows its answer whole, once and in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from tests.eventsource import sources
from tests.faults.support import ACK_WAIT, PATIENCE_SECONDS, StartWorker, count_text
from tests.openai.support import rows, said, sdk
from tests.responses.support import openai_of
from tests.support import stored
from tests.support.broker import Broker
from tests.support.children import Child
from tests.support.mesh import client_of, running
from tests.support.node import NODE, installed
from tests.support.reading import post
from tests.support.waiting import eventually
from tests.vercel import chats

TESTS = Path(__file__).parents[1]
TOKENS = 200
SLOW, QUICK = "demo.tokens_per_second=4", "demo.tokens_per_second=100"
"""Of the worker that dies, so that every client has begun and none has ended, and of the one that goes on."""

BEGINNING = "1 2 3 "

Whole = Callable[[], Awaitable[str]]
Opens = Callable[[str, str], AbstractAsyncContextManager[Whole]]
"""Asks the pod with that URL in that session. Entered once the client shows a beginning; then: all of it, once it is there."""

Look = Callable[[], tuple[str, bool]]
"""What a client has shown, and whether it says that this is all."""


async def _until(look: Look, condition: Callable[[str, bool], bool]) -> str:
    text = ""

    def holds() -> bool:
        nonlocal text
        text, is_all = look()
        return condition(text, is_all)

    await eventually(holds, timeout=PATIENCE_SECONDS, message="what the client should show")
    return text


async def _has_begun(look: Look) -> None:
    await _until(look, lambda text, _: text.startswith(BEGINNING))


def _whole(look: Look) -> Whole:
    return partial(_until, look, lambda _, is_all: is_all)


@asynccontextmanager
async def _in_python(pieces: AsyncIterator[str]) -> AsyncIterator[Whole]:
    shown: list[str] = []

    async def read() -> None:
        async for piece in pieces:  # one by one: what has come is looked at meanwhile
            shown.append(piece)  # noqa: PERF401

    task = asyncio.create_task(read())

    def look() -> tuple[str, bool]:
        if task.done():
            task.result()
        return "".join(shown), task.done()

    try:
        await _has_begun(look)
        yield _whole(look)
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def openai_in_python(url: str, session: str) -> AsyncIterator[Whole]:
    async with sdk(url, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="count",
            messages=said("go"),
            max_tokens=TOKENS,
            stream=True,
            extra_headers={"X-Session-Id": session},
        )
        async with _in_python(chunk.choices[0].delta.content or "" async for chunk in stream) as whole:
            yield whole


@asynccontextmanager
async def responses_in_python(url: str, session: str) -> AsyncIterator[Whole]:
    async with openai_of(url) as client:
        stream = await client.responses.create(
            model="count",
            input="go",
            max_output_tokens=TOKENS,
            stream=True,
            extra_headers={"X-Session-Id": session},
        )
        deltas = (event.delta async for event in stream if event.type == "response.output_text.delta")
        async with _in_python(deltas) as whole:
            yield whole


@asynccontextmanager
async def openai_in_node(
    package: str, programs: Path, directory: Path, url: str, session: str
) -> AsyncIterator[Whole]:
    output, errors = directory / f"{session}.out", directory / f"{session}.err"
    command = [NODE, "follow.mjs", url, package, session, str(TOKENS)]
    child = Child(command, stdout=output, stderr=errors, cwd=programs)

    def look() -> tuple[str, bool]:
        has_ended = not child.is_running
        pieces = [json.loads(line) for line in output.read_text().rpartition("\n")[0].splitlines()]
        is_all = None in pieces
        assert is_all or not has_ended, errors.read_text()
        return "".join(piece for piece in pieces if piece is not None), is_all

    try:
        await _has_begun(look)
        yield _whole(look)
    finally:
        await asyncio.to_thread(child.kill)


@asynccontextmanager
async def chat_of(
    package: str, programs: Path, directory: Path, url: str, session: str
) -> AsyncIterator[Whole]:
    body = {"model": "count", "context": {"max_tokens": TOKENS}}
    async with chats.chat(programs, package, directory, url, "go", id=session, body=body) as chat:
        await chat.shows(lambda shown: shown.text.startswith(BEGINNING))

        async def whole() -> str:
            shown = await chat.is_done()
            assert (shown.status, shown.error, len(shown.answers)) == ("ready", None, 1)
            return shown.text

        yield whole


@asynccontextmanager
async def eventsource_in_node(
    programs: Path, directory: Path, url: str, session: str
) -> AsyncIterator[Whole]:
    address = f"{url}/v1/sessions/{session}/events"
    async with sources.node_source(programs, directory, address) as source:
        await source.hears(lambda heard: len(heard.chunks) > 3)

        async def whole() -> str:
            heard = await source.hears(lambda heard: heard.finals)
            assert heard.ids == list(range(TOKENS + 1))
            assert heard.count("open") == 1, "it had to come back"
            return "".join(chunk["chunk"] for chunk in heard.chunks)

        yield whole


@pytest.mark.slow
async def test_killed_worker_is_only_a_pause_to_every_client(
    broker: Broker, nats_client: Nats, new_worker: StartWorker, tmp_path: Path
) -> None:
    openai, vercel, source = (
        installed(TESTS / folder / "node", f"a worker's end under npm's {folder} is")
        for folder in ("openai", "vercel", "eventsource")
    )
    opens: dict[str, Opens] = {
        "openai": openai_in_python,
        "responses": responses_in_python,
        **{name: partial(openai_in_node, name, openai, tmp_path) for name in ("openai-6", "openai-7")},
        **{name: partial(chat_of, name, vercel, tmp_path) for name in chats.SDKS},
        "eventsource": partial(eventsource_in_node, source, tmp_path),
    }
    dying = await new_worker("dying", SLOW)
    async with (
        running(broker.url, ACK_WAIT, role="pod", id="pod") as pod,
        client_of(pod) as http,
        AsyncExitStack() as clients,
    ):
        assert pod.server is not None
        url = pod.server.url
        said_natively = await post(http, "eventsource", model="count", max_tokens=TOKENS)
        assert said_natively.status_code == 202
        entered = [clients.enter_async_context(each(url, name)) for name, each in opens.items()]
        wholes = dict(zip(opens, await asyncio.gather(*entered), strict=True))
        for name in opens:
            assert (await rows(http, name))[-1]["status"] == "running", f"{name} has ended before the kill"
        dying.kill()
        await new_worker("goes-on", QUICK)
        for name, whole in wholes.items():
            assert await whole() == count_text(TOKENS), name
            assert len(await stored.claims(nats_client, name)) == 2, name
