"""Tickets and shared links: what they open, for how long, and what they don't."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.errors import ProtocolError
from chatmesh.identity import Links
from chatmesh.protocol import signed
from chatmesh.protocol.callers import Caller, Scope
from chatmesh.protocol.tokens import Token
from tests.auth.support import SIGNING, asking, bearer, say, token
from tests.support.broker import Broker
from tests.support.mesh import client_of, running

ALICE = Caller("acme", "alice", frozenset({Scope.CHAT, Scope.READ}), time.time() + 600)
STOP = "&from=start&message_id=m"
"""A stream that ends by itself."""


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(broker.url, id="p1") as (_, client):
        yield client


async def ticket(client: httpx.AsyncClient, who: str = "alice", session: str = "s") -> str:
    answer = await client.post(f"/v1/sessions/{session}/ticket", headers=bearer(token(who)))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["url"] == f"/v1/sessions/{session}/events?ticket={body['ticket']}"
    assert body["expires_in"] == 30
    return str(body["url"])


async def test_ticket_opens_its_session_once_on_two_pods_and_its_cookie_goes_on(broker: Broker) -> None:
    async with (
        asking(broker.url, id="p1") as (_, one),
        asking(broker.url, role="pod", id="p2") as (_, two),
    ):
        await say(one, "alice", message_id="m")
        url = await ticket(one) + STOP
        answers = await asyncio.gather(*(client.get(url) for client in (one, two) for _ in range(3)))
        used = [answer for answer in answers if answer.status_code == 200]
        assert len(used) == 1
        assert {answer.status_code for answer in answers} == {200, 401}
        assert '"chunk":"a "' in used[0].text
        cookie = used[0].headers["Set-Cookie"]
        for part in ("HttpOnly", "SameSite=Strict", "Path=/v1/sessions/s/events"):
            assert part in cookie
        assert "Secure" not in cookie
        again = {"Cookie": cookie.partition(";")[0]}
        for client in (one, two):
            client.cookies.clear()
            assert (await client.get(url, headers=again)).status_code == 200
            # It goes with its ticket, and opens nothing else.
            assert (await client.get("/v1/sessions/s/events", headers=again)).status_code == 401
            assert (await client.get("/v1/sessions/s/messages", headers=again)).status_code == 401
        fresh = (await ticket(one)).replace("/s/", "/other/")
        assert (await two.get(fresh, headers=again)).status_code == 401


async def test_cookie_is_secure_where_the_page_is(client: httpx.AsyncClient) -> None:
    await say(client, "alice", message_id="m")
    answer = await client.get(await ticket(client) + STOP, headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Set-Cookie"].endswith("; Secure")


async def test_strangers_ticket_opens_nothing(client: httpx.AsyncClient) -> None:
    await say(client, "alice", message_id="m")
    assert (await client.get(await ticket(client, "bob") + STOP)).status_code == 404


async def test_page_of_another_host_gets_nothing_by_a_ticket(client: httpx.AsyncClient) -> None:
    await say(client, "alice", message_id="m")
    url = await ticket(client) + STOP
    for origin in ("https://evil.test", "null"):
        answer = await client.get(url, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    own = str(client.base_url).rstrip("/")
    assert (await client.get(url, headers={"Origin": own})).status_code == 200  # and it was not spent


async def test_ticket_and_link_are_in_no_log_line(client: httpx.AsyncClient, logs: list[Any]) -> None:
    await say(client, "alice", message_id="m")
    url = await ticket(client)
    text = url.partition("=")[2]
    assert (await client.get(url + STOP)).status_code == 200
    client.cookies.clear()
    assert (await client.get(url + STOP)).status_code == 401
    assert logs
    assert text not in str(logs)
    assert text.split(".")[1] not in str(logs)


async def test_shared_link_reads_one_session_and_dies_with_it(client: httpx.AsyncClient) -> None:
    await say(client, "alice", "mine")
    await say(client, "alice", "other")
    path = "/v1/sessions/mine"
    made = await client.post(f"{path}/share", json={"ttl": 60}, headers=bearer(token("alice")))
    assert (made.status_code, made.json()["expires_in"]) == (200, 60)
    link = bearer(made.json()["token"])
    assert (await client.get(f"{path}/messages", headers=link)).status_code == 200
    assert (await client.post(f"{path}/ticket", headers=link)).status_code == 200
    assert (await client.get("/v1/sessions/other/messages", headers=link)).status_code == 404
    assert (await client.get("/v1/sessions", headers=link)).json()["sessions"] == []
    for method, where in (("POST", f"{path}/messages"), ("DELETE", path), ("POST", f"{path}/share")):
        refused = await client.request(method, where, json={"message": "a"}, headers=link)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    strangers = await client.post(f"{path}/share", json={}, headers=bearer(token("bob")))
    assert strangers.status_code == 404
    assert (await client.delete(path, headers=bearer(token("alice")))).status_code == 202
    await say(client, "alice", "mine", text="new")
    assert (await client.get(f"{path}/messages", headers=link)).status_code == 404


async def test_without_a_secret_there_are_no_links(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        answer = await client.post("/v1/sessions/s/ticket")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_links")


# --- what is signed -------------------------------------------------------------------------------------------------------


def test_nothing_that_was_signed_passes_for_something_else_or_longer_than_it_says() -> None:
    links, session, now = Links(SIGNING), Token("s"), time.time()
    made = {
        "ticket": links.ticket(ALICE, session, now),
        "cookie": links.cookie(ALICE, session, Token("t"), now)[0],
        "share": links.share("acme", session, "n", now + 60),
    }
    readers = {
        "ticket": lambda text, at=now: links.read_ticket(text, session, at),
        "cookie": lambda text, at=now: links.read_cookie(text, made["ticket"], session, at),
        "share": lambda text, at=now: links.reader(text, at),
    }
    assert readers["ticket"](made["ticket"])[1].user == "alice"
    assert readers["share"](made["share"]).session_id == session
    for name, text in made.items():
        for other, read in readers.items():
            if other != name:
                with pytest.raises(Exception, match="is not good"):
                    read(text)
    with pytest.raises(Exception, match="expired"):
        readers["ticket"](made["ticket"], now + 31)
    with pytest.raises(Exception, match="another session"):
        links.read_ticket(made["ticket"], Token("x"), now)
    with pytest.raises(Exception, match="is not good"):
        Links(SIGNING + "!").read_ticket(made["ticket"], session, now)


@given(st.text(max_size=200), st.integers(0, 80), st.characters())
def test_whatever_is_changed_is_not_believed(text: str, place: int, character: str) -> None:
    good = signed.sign("cmticket", {"exp": 2.0, "a": "b"}, b"secret")
    assert signed.read("cmticket", good, b"secret", 1.0)["a"] == "b"
    changed = good[:place] + character + good[place + 1 :]
    for each in (text, changed):
        if each != good:
            with pytest.raises(ProtocolError):
                signed.read("cmticket", each, b"secret", 1.0)
