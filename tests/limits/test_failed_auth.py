"""Bad keys, tokens and tickets of one address: past the limit nothing more of it is looked at, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY

from chatmesh.app import Mesh
from tests.auth.support import add_key, asking, bearer, say, token
from tests.support.broker import Broker
from tests.support.mesh import client_of, running

LIMIT = "limits.failed_auth_per_minute=3"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


def limited() -> float:
    return REGISTRY.get_sample_value("chatmesh_limited_total", {"limit": "failed_auth"}) or 0.0


@asynccontextmanager
async def from_address(mesh: Mesh, address: str) -> AsyncIterator[httpx.AsyncClient]:
    assert mesh.server is not None
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=mesh.server.url, transport=transport, timeout=20) as client:
        yield client


async def statuses(client: httpx.AsyncClient, texts: list[str], path: str = "/v1/sessions") -> list[int]:
    return [(await client.get(path, headers=bearer(text))).status_code for text in texts]


async def test_past_the_limit_nothing_that_an_address_brings_is_looked_at(broker: Broker) -> None:
    before = limited()
    async with (
        asking(broker.url, LIMIT, role="pod", id="p") as (mesh, _),
        from_address(mesh, HERE) as here,
        from_address(mesh, ELSEWHERE) as elsewhere,
    ):
        known = token("alice")
        assert await statuses(here, [known]) == [200]
        assert await statuses(here, [f"bad{number}" for number in range(5)]) == [401] * 3 + [429] * 2
        answer = await here.get("/v1/sessions", headers=bearer(token("bob")))
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures"), (
            "not even a good one"
        )
        assert 1 <= int(answer.headers["Retry-After"]) <= 20
        spoofed = bearer("bad") | {
            "X-Forwarded-For": "192.0.2.1",
            "X-Real-Ip": "192.0.2.1",
            "Forwarded": "for=192.0.2.1",
        }
        assert (await here.get("/v1/sessions", headers=spoofed)).status_code == 429, (
            "what a client says of its address"
        )
        assert "WWW-Authenticate" not in answer.headers
        # Who was known before, who comes from elsewhere, and what asks nobody, are as ever.
        assert await statuses(here, [known]) == [200]
        assert await statuses(elsewhere, [token("bob"), "bad"]) == [200, 401]
        assert (await here.get("/readyz")).status_code == 200
        assert (await here.get("/v1/sessions")).status_code == 401, "nothing was brought"
    assert limited() == before + 4


async def test_every_way_to_prove_it_is_counted_and_every_format_says_so(broker: Broker) -> None:
    async with asking(broker.url, LIMIT, id="p") as (_, client):
        await say(client, "alice", message_id="m")
        url = (await client.post("/v1/sessions/s/ticket", headers=bearer(token("alice")))).json()["url"]
        url += "&from=start&message_id=m"
        assert (await client.get(url)).status_code == 200
        client.cookies.clear()
        tries = [
            client.get(url),
            client.get("/v1/sessions", headers={"x-api-key": "bad"}),
            client.get("/v1/sessions/s/events?ticket=bad"),
        ]
        assert [(await each).status_code for each in tries] == [401] * 3
        bad = bearer("bad")
        native = await client.post("/v1/sessions/s/messages", json={"message": "a"}, headers=bad)
        openai = await client.post("/v1/chat/completions", json={}, headers=bad)
        vercel = await client.post("/api/chat", json={}, headers=bad)
        ticket = await client.get("/v1/sessions/s/events?ticket=another")
        answers = (native, openai, vercel, ticket)
        assert [answer.status_code for answer in answers] == [429] * 4
        assert all("Retry-After" in answer.headers for answer in answers)
        assert native.json()["code"] == ticket.json()["code"] == "too_many_failures"
        assert openai.json()["error"]["code"] == "too_many_failures"
        assert vercel.headers["Content-Type"].startswith("text/plain")


async def test_many_at_once_are_bounded_all_the_same(broker: Broker, tmp_path: Path) -> None:
    """Of a key's failure nothing is waited for, so each is counted before the next one is looked at."""
    _, good = add_key(tmp_path / "keys.yaml", "alice")
    settings = ("auth.mode=api_keys", f"auth.keys_file={tmp_path / 'keys.yaml'}", LIMIT)
    async with running(broker.url, *settings, role="pod", id="p") as mesh, client_of(mesh) as client:
        asked = [client.get("/v1/sessions", headers=bearer(f"cm_x_{number}")) for number in range(20)]
        answers = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert sorted(answers) == [401] * 3 + [429] * 17
        assert await statuses(client, [good]) == [429], "it was never known here"


@pytest.mark.parametrize("settings", [(), ("limits.failed_auth_per_minute=null",)], ids=["default", "null"])
async def test_by_default_nobody_is_held_up(broker: Broker, settings: tuple[str, ...]) -> None:
    async with asking(broker.url, *settings, role="pod", id="p") as (_, client):
        assert await statuses(client, ["bad"] * 100) == [401] * 100
        assert await statuses(client, [token()]) == [200]
