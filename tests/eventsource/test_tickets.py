"""An EventSource where callers are told apart: by a ticket and its cookie, or by a token where it may send headers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.auth.support import asking, bearer, token
from tests.eventsource.sources import PROGRAMS, Heard, Opens, Source, node_source
from tests.support.broker import Broker
from tests.support.proxy import FaultProxy

DOCS = Path(__file__).parents[2] / "docs" / "security.md"
TOKENS = 120


@dataclass(frozen=True)
class Place:
    """A pod that asks who is calling. An EventSource comes through `proxy`."""

    client: httpx.AsyncClient
    proxy: FaultProxy

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}/v1/sessions/s/events"

    async def ticketed(self) -> str:
        answer = await self.client.post("/v1/sessions/s/ticket", headers=bearer(token()))
        url: str = answer.json()["url"]
        return f"http://127.0.0.1:{self.proxy.port}{url}"

    async def ask(self) -> None:
        context = {"model": "count", "max_tokens": TOKENS, "tokens_per_second": 40}
        body = {"message": "count", "context": context}
        answer = await self.client.post("/v1/sessions/s/messages", json=body, headers=bearer(token()))
        assert answer.status_code == 202


@asynccontextmanager
async def place(broker: Broker) -> AsyncIterator[Place]:
    async with asking(broker.url, id="x") as (mesh, client):
        assert mesh.server is not None
        async with FaultProxy(mesh.server.port) as proxy:
            yield Place(client, proxy)


def has(chunks: int) -> Callable[[Heard], bool]:
    return lambda heard: len(heard.chunks) >= chunks


async def assert_it_goes_on_when_it_is_cut(at: Place, source: Source, asked: list[str | None]) -> None:
    """Twice, each time at the exact chunk."""
    await source.hears(lambda heard: heard.count("open") == 1)
    await at.ask()
    for chunks, opened in ((10, 2), (30, 3)):
        await source.hears(has(chunks))
        at.proxy.cut()
        await source.hears(lambda heard, opened=opened: heard.count("open") == opened)
    heard = await source.hears(lambda heard: heard.finals)
    assert heard.ids == list(range(TOKENS + 1))
    assert not heard.named("reset")
    assert not heard.is_closed
    assert asked[0] is None
    assert all(asked[1:])


@pytest.fixture(
    params=[
        "httpx",
        pytest.param("node", marks=pytest.mark.slow),
        pytest.param("chromium", marks=[pytest.mark.browser, pytest.mark.slow]),
    ]
)
def opens_by_ticket(request: pytest.FixtureRequest, tmp_path: Path) -> Opens:
    """Those that keep a cookie: httpx's client and a browser by themselves, npm's with a `fetch` that does."""
    if request.param == "node":
        return partial(_node, request.getfixturevalue("programs"), tmp_path, "withCookie")
    fixture: Opens = request.getfixturevalue(f"opens_in_{request.param}")
    return fixture


@asynccontextmanager
async def _node(programs: Path, directory: Path, way: str, url: str) -> AsyncIterator[Source]:
    async with node_source(programs, directory, url, way) as source:
        yield source


async def test_ticket_hears_the_whole_answer_by_its_cookie_however_often_it_is_cut(
    broker: Broker, opens_by_ticket: Opens, asked: list[str | None]
) -> None:
    async with place(broker) as at, opens_by_ticket(await at.ticketed()) as source:
        await assert_it_goes_on_when_it_is_cut(at, source, asked)


@pytest.mark.slow
async def test_npms_own_hears_one_stream_by_a_ticket_and_gives_up_when_it_is_cut(
    broker: Broker, opens_in_node: Opens
) -> None:
    """It keeps no cookie, and a spent ticket opens nothing: docs/security.md says what to do."""
    async with place(broker) as at, opens_in_node(await at.ticketed()) as source:
        await source.hears(lambda heard: heard.count("open") == 1)
        await at.ask()
        await source.hears(has(10))
        at.proxy.cut()
        heard = await source.hears(lambda heard: heard.is_closed)
    assert heard.count("open") == 1
    assert heard.ids == list(range(len(heard.ids)))


@pytest.mark.slow
async def test_npms_own_goes_on_by_a_token_in_a_header(
    broker: Broker, programs: Path, tmp_path: Path, asked: list[str | None]
) -> None:
    async with (
        place(broker) as at,
        node_source(programs, tmp_path, at.url, "withToken", token()) as source,
    ):
        await assert_it_goes_on_when_it_is_cut(at, source, asked)


def test_what_the_docs_give_to_npms_own_is_what_was_tried() -> None:
    tried = (PROGRAMS / "fetches.mjs").read_text().partition("\n")[2].replace("export ", "").strip()
    assert tried in DOCS.read_text()
