"""Tokens and tickets that are none, at every route that asks, as an attacker sends them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from chatmesh.app import Mesh
from chatmesh.identity import Links
from chatmesh.protocol.callers import Caller, Scope
from chatmesh.protocol.tokens import Token
from chatmesh.web.pages import ASIDE
from tests.attacks.wire import Door, ask
from tests.auth.support import AUDIENCE, HS, ISSUER, SECRET, SIGNING, bearer, claims, say, token
from tests.auth.test_tokens import BAD
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.web.serving import Wire

OPEN = {"/", "/ops", "/docs", "/healthz", "/readyz", "/openapi.json", "/metrics"}
ALICE = Caller("acme", "alice", frozenset({Scope.CHAT, Scope.READ}), time.time() + 3600)
ENDS = "&from=start&message_id=m"
"""A stream that ends by itself."""


async def test_no_bad_token_opens_any_route(mesh: Mesh) -> None:
    """Before a body is read: there is none."""
    assert mesh.server is not None
    bad = {name: make() for name, make in BAD.items() if name != "oversized"}
    doors = [
        Door(route.method, re.sub(r"{\w+}", "x", route.path))
        for route in mesh.server.routes
        if route.path not in OPEN and not route.path.startswith(("/client.", *ASIDE))
    ]
    assert len(doors) >= 15
    for door in doors:
        for name, text in bad.items():
            for header in ("Authorization", "x-api-key"):
                value = f"Bearer {text}" if header == "Authorization" else text
                answer = await ask(mesh, door.request({"Authorization": ""} | {header: value}))
                assert answer.status == 401, (door, name, header, answer)


# --- keys that a token brings along --------------------------------------------------------------------------------------


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[str]]]:
    """An attacker's server: its address, and who came."""
    came: list[str] = []

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append("somebody")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/keys", came


async def test_key_that_a_token_brings_along_or_points_to_is_not_looked_at(
    broker: Broker, tmp_path: Path
) -> None:
    own = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(public))
    async with listening() as (url, came), listening() as (issuer_url, asked):
        settings = (
            "auth.mode=jwt",
            "auth.jwt.algorithms=RS256",
            f"auth.jwt.jwks_url={issuer_url}",
            f"auth.jwt.issuer={ISSUER}",
            f"auth.jwt.audience={AUDIENCE}",
        )
        async with running(broker.url, *settings, role="pod", id="p") as mesh:
            for head in (
                {"jwk": public},
                {"jku": url, "kid": "1"},
                {"x5u": url},
                {"kid": url},
                {"kid": str(keys)},
                {"kid": "../../../../dev/null"},
                {"kid": "' OR 1=1 --"},
            ):
                forged = jwt.encode(claims(), own, algorithm="RS256", headers=head)
                answer = await ask(mesh, Door("GET", "/v1/sessions").request(bearer(forged)))
                assert answer.status == 401, head
        assert came == []
        assert asked, "only the issuer that the configuration names was asked"


# --- tickets -------------------------------------------------------------------------------------------------------------


def events(session: str, text: str) -> Door:
    return Door("GET", f"/v1/sessions/{session}/events?ticket={text}{ENDS}")


def made(age_seconds: float, session: str = "s") -> str:
    """One that a pod made so long ago."""
    return Links(SIGNING).ticket(ALICE, Token(session), time.time() - age_seconds)


NOBODY = {"Authorization": "Basic "}


async def test_ticket_is_good_once_for_its_session_within_thirty_seconds(mesh: Mesh) -> None:
    async with client_of(mesh) as client:
        await say(client, "alice", message_id="m")
        await say(client, "alice", "other", message_id="m")
    ticket = made(25)
    tried = [
        (events("other", ticket), 401),  # and it was not spent by that
        (events("s", ticket + "x"), 401),
        (events("s", ticket), 200),
        (events("s", ticket), 401),
        (events("s", made(31)), 401),
        (events("s", made(-3600)), 200),  # of a pod whose clock is ahead
        (events("s", Links(SIGNING + "!").ticket(ALICE, Token("s"), time.time())), 401),
        (events("s", "*"), 401),
        (events("s", ""), 401),
        (events("s", "a%0d%0aSet-Cookie:%20a=b"), 401),
        (Door("GET", f"/v1/sessions/s/messages?ticket={made(0)}"), 401),
        (Door("POST", f"/v1/sessions/s/messages?ticket={made(0)}", {"message": "go"}), 401),
        (Door("GET", f"/api/chat/s/stream?ticket={made(0)}"), 401),
    ]
    for door, status in tried:
        answer = await ask(mesh, door.request(NOBODY))
        assert answer.status == status, (door, answer)
        assert (b"set-cookie" in answer.head.lower()) == (status == 200), door


async def test_cookie_of_a_ticket_opens_its_address_and_nothing_else(mesh: Mesh) -> None:
    async with client_of(mesh) as client:
        for session in ("s", "other"):
            await say(client, "alice", session, message_id="m")
    ticket = made(0)
    first = await ask(mesh, events("s", ticket).request(NOBODY))
    found = re.search(rb"(?i)set-cookie: (chatmesh_events=[^;]+); Path=/v1/sessions/s/events;", first.head)
    assert found is not None
    cookie = NOBODY | {"Cookie": found[1]}
    tried = [
        (events("s", ticket), cookie, 200),
        (events("s", made(0) + "x"), cookie, 401),
        (events("other", ticket), cookie, 401),
        (Door("GET", "/v1/sessions/s/events"), cookie, 401),
        (Door("GET", "/v1/sessions/s/messages"), cookie, 401),
        (Door("DELETE", "/v1/sessions/s"), cookie, 401),
        (events("s", ticket), NOBODY | {"Cookie": found[1] + b"x"}, 401),
        (events("s", ticket), NOBODY | {"Cookie": b"chatmesh_events=" + ticket.encode()}, 401),
        (events("s", found[1].partition(b"=")[2].decode()), NOBODY, 401),
        (events("s", ticket), cookie | {"Origin": "https://evil.test"}, 403),
        (events("s", ticket), cookie | {"Origin": "null"}, 403),
    ]
    for door, headers, status in tried:
        answer = await ask(mesh, door.request(headers))
        assert answer.status == status, (door, headers, answer)


async def test_no_ticket_cookie_token_or_link_is_in_any_output_of_a_pod_that_logs_everything(
    broker: Broker, tmp_path: Path, chatmesh: Callable[..., Process]
) -> None:
    arguments = [f"--set={setting}" for setting in (*HS, f"nats.servers={broker.url}", "log.level=debug")]
    pod = chatmesh("run", "--role", "all", "--id", "p", *arguments, "--set=http.port=0")
    found = await pod.wait_for_line(r"(http://127\.0\.0\.1:\d+)")
    async with httpx.AsyncClient(base_url=found[1], timeout=20) as client:
        await say(client, "alice", message_id="m")
        asked = await client.post("/v1/sessions/s/ticket", headers=bearer(token()))
        ticket = asked.json()["ticket"]
        url = f"/v1/sessions/s/events?ticket={ticket}{ENDS}"
        opened = await client.get(url)
        cookie = opened.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        again = [await client.get(url, headers={"Cookie": f"chatmesh_events={cookie}"})]
        client.cookies.clear()
        again += [
            await client.get(url),
            await client.get(url + "%00"),
            await client.get(f"/nowhere?ticket={ticket}"),
        ]
        link = (await client.post("/v1/sessions/s/share", json={}, headers=bearer(token()))).json()["token"]
        again.append(await client.get("/v1/sessions/s/messages", headers=bearer(link)))
        assert [answer.status_code for answer in again] == [200, 401, 401, 404, 200]
        port = httpx.URL(found[1]).port
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        wire.send(f"GET {url}\x0b HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await wire.reply()).status == 400
        await wire.close()
        metrics = await client.get("/metrics")
    output = pod.stdout + pod.stderr + metrics.text
    assert output.count("web.request") >= 8, "the log of requests is on"
    secrets = {"ticket": ticket, "cookie": cookie, "link": link, "token": token(), "key": SECRET}
    for name, secret in secrets.items():
        parts = {secret, *(part for part in secret.split(".") if len(part) > 30)}
        assert not [part for part in parts if part in output], name
