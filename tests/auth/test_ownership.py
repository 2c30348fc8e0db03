"""A session is whose who began it, on every route and in every format; everybody else learns nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.protocol.callers import Access
from chatmesh.protocol.openai_ids import response_id
from chatmesh.protocol.tokens import Token
from chatmesh.web.pages import ASIDE
from tests.auth.support import STREAM, add_key, asking, bearer, say, token
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.waiting import eventually

COMPLETION = {"model": "echo", "messages": [{"role": "user", "content": "a"}]}
OPEN = {
    "/",
    "/ops",
    "/docs",
    "/client.js",
    "/client.d.ts",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/metrics",
}


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[tuple[Mesh, httpx.AsyncClient]]:
    async with asking(broker.url, id="p") as found:
        yield found


@pytest.fixture
def client(mesh: tuple[Mesh, httpx.AsyncClient]) -> httpx.AsyncClient:
    return mesh[1]


def alice() -> dict[str, str]:
    return bearer(token("alice"))


def bob() -> dict[str, str]:
    return bearer(token("bob"))


def told(answer: httpx.Response) -> tuple[int, str]:
    """All that an answer says, without the request's own id."""
    return answer.status_code, re.sub(r"corr_\w+", "corr", answer.text)


# --- every route ---------------------------------------------------------------------------------------------------------


async def test_no_route_lets_anybody_in_without_saying_who_is_calling(
    mesh: tuple[Mesh, httpx.AsyncClient],
) -> None:
    pod, client = mesh
    assert pod.server is not None
    guarded = 0
    for route in pod.server.routes:
        path = re.sub(r"{\w+}", "x", route.path)
        answer = await client.request(route.method, path)
        if route.path in OPEN or route.path.startswith(ASIDE):
            assert answer.status_code == 200, route.path
            continue
        guarded += 1
        assert answer.status_code == 401, route.path
        assert "WWW-Authenticate" in answer.headers
        assert route.access is not Access.NOBODY, f"{route.path} lets nobody in"
        kind = answer.headers["Content-Type"].partition(";")[0]
        if route.path.startswith(("/v1/sessions", "/v1/events", "/v1/ops")):
            assert (kind, answer.json()["code"]) == ("application/problem+json", "unauthenticated")
        elif route.path.startswith("/v1/"):
            assert answer.json()["error"]["code"] == "unauthenticated"
        else:
            assert kind == "text/plain"
    assert guarded >= 15


def attempts(session: str, message: str) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Every way to a session that somebody else may have."""
    response = response_id(Token(session), Token(message))
    here = f"/v1/sessions/{session}"
    return [
        ("GET", f"{here}/messages", None),
        ("GET", f"{here}/messages/{message}", None),
        ("DELETE", f"{here}/messages/{message}", None),
        ("DELETE", here, None),
        ("GET", f"/v1/responses/{response}", None),
        ("GET", f"/v1/responses/{response}?stream=true", None),
        ("POST", f"/v1/responses/{response}/cancel", None),
        ("POST", "/v1/responses", {"model": "echo", "input": "a", "previous_response_id": response}),
        ("GET", f"/api/chat/{session}/stream", None),
        ("POST", f"/api/chat/{session}/stop", None),
    ]


async def test_stranger_learns_nothing_on_any_route_in_any_format(client: httpx.AsyncClient) -> None:
    await say(client, "alice", "mine", message_id="m")
    for own, unknown in zip(attempts("mine", "m"), attempts("nobodys", "m"), strict=True):
        answers = []
        for method, path, body in (own, unknown):
            answer = await client.request(method, path, json=body, headers=bob())
            assert answer.status_code in (404, 204), f"{method} {path}: {answer.status_code} {answer.text}"
            answers.append(told(answer))
        assert answers[0] == answers[1], own
    assert (await client.get("/v1/sessions", headers=bob())).json() == {"sessions": [], "next": None}
    # All of it did nothing.
    assert (await client.get("/v1/sessions/mine/messages/m", headers=alice())).json()["content"] == "a b"


async def test_nobody_writes_into_anothers_session_or_follows_it(client: httpx.AsyncClient) -> None:
    await say(client, "alice", "mine")
    session = {"X-Session-Id": "mine"}
    chat = {"id": "mine", "message": {"role": "user", "parts": [{"type": "text", "text": "a"}]}}
    for path, body, more in (
        ("/v1/sessions/mine/messages", {"message": "a"}, {}),
        ("/v1/sessions/mine/messages", {"message": "a"}, STREAM),
        ("/v1/chat/completions", COMPLETION, session),
        ("/v1/chat/completions", COMPLETION | {"stream": True}, session),
        ("/v1/responses", {"model": "echo", "input": "a"}, session),
        ("/api/chat", chat, {}),
    ):
        answer = await client.post(path, json=body, headers=bob() | more)
        assert answer.status_code == 404, path
        assert "a b" not in answer.text
    for query in ("", "?from=start", "?message_id=m", "?last_event_id=x"):
        answer = await client.get(f"/v1/sessions/mine/events{query}", headers=bob())
        assert answer.status_code == 404
    page = (await client.get("/v1/sessions/mine/messages", headers=alice())).json()
    assert len(page["messages"]) == 2


async def test_same_user_of_another_tenant_is_a_stranger(client: httpx.AsyncClient) -> None:
    await say(client, "alice", "mine")
    other = bearer(token("alice", tenant="other"))
    assert (await client.get("/v1/sessions/mine/messages", headers=other)).status_code == 404


async def test_what_was_begun_in_one_format_is_its_owners_in_all(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=COMPLETION, headers=alice())
    session, message = answer.headers["X-Session-Id"], answer.headers["X-Message-Id"]
    response = response_id(Token(session), Token(message))
    assert (await client.get(f"/v1/responses/{response}", headers=alice())).json()["status"] == "completed"
    assert (await client.get(f"/v1/sessions/{session}/messages", headers=alice())).status_code == 200
    listed = (await client.get("/v1/sessions", headers=alice())).json()["sessions"]
    assert [row["session_id"] for row in listed] == [session]


async def test_body_never_says_who_the_user_is(client: httpx.AsyncClient) -> None:
    await say(client, "alice", "mine", user_id="bob")
    row = (await client.get("/v1/sessions/mine/messages", headers=alice())).json()["messages"][0]
    assert row["user_id"] == "alice"


async def test_sessions_are_listed_page_by_page_each_to_its_own(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await say(client, "alice", f"a{number}")
        await say(client, "bob", f"b{number}")
    seen, after = [], ""
    while after is not None:
        page = (await client.get(f"/v1/sessions?limit=2&after={after}", headers=alice())).json()
        assert len(page["sessions"]) <= 2
        seen += [row["session_id"] for row in page["sessions"]]
        after = page["next"]
    assert seen == [f"a{number}" for number in range(5)]


# --- who comes first, and who comes after ----------------------------------------------------------------------------------


async def test_of_two_who_begin_one_session_on_two_pods_one_has_it(broker: Broker) -> None:
    async with (
        asking(broker.url, id="p1") as (_, one),
        asking(broker.url, role="pod", id="p2") as (_, two),
    ):
        for number in range(5):
            path = f"/v1/sessions/s{number}/messages"
            first, second = await asyncio.gather(
                one.post(path, json={"message": "a"}, headers=alice()),
                two.post(path, json={"message": "b"}, headers=bob()),
            )
            assert sorted([first.status_code, second.status_code]) == [202, 404]
            loser = bob() if first.status_code == 202 else alice()
            assert (await one.get(path, headers=loser)).status_code == 404


async def test_stranger_who_waits_gets_nothing_when_the_owner_begins(broker: Broker) -> None:
    async with (
        asking(broker.url, id="p1") as (_, one),
        asking(broker.url, role="pod", id="p2") as (pod, two),
    ):
        path = "/v1/sessions/s/events"
        async with (
            two.stream("GET", path, headers=bob()) as stranger,
            two.stream("GET", path, headers=alice()) as owner,
        ):
            assert (stranger.status_code, owner.status_code) == (200, 200)
            await eventually(lambda: _readers(pod) == 2)
            await say(one, "alice")
            heard = [line async for line in _until_final(owner)]
            assert '"chunk":"a "' in "".join(heard)
            everything = (await stranger.aread()).decode()  # it ends
            assert "data:" not in everything
        assert (await two.get(path, headers=bob())).status_code == 404


async def test_reader_of_an_erased_session_gets_nothing_of_its_next_owner(broker: Broker) -> None:
    async with asking(broker.url) as (_, client):
        await say(client, "alice", text="secret of alice")
        path = "/v1/sessions/s"
        async with client.stream("GET", f"{path}/events?from=start", headers=alice()) as reader:
            lines = reader.aiter_lines()
            async for line in lines:
                if '"is_final":true' in line:
                    break
            assert (await client.delete(path, headers=bob())).status_code == 404
            assert (await client.delete(path, headers=alice())).status_code == 202
            events = await say(client, "bob", text="secret of bob")
            assert "alice" not in events
            rest = "\n".join([line async for line in lines])  # it ends
            assert "bob" not in rest
        assert (await client.get(f"{path}/messages", headers=alice())).status_code == 404
        page = await client.get(f"{path}/messages", headers=bob())
        assert "alice" not in page.text
        assert (await client.get("/v1/sessions", headers=alice())).json()["sessions"] == []
        replay = await client.get(
            f"{path}/events?message_id={page.json()['messages'][0]['message_id']}", headers=bob()
        )
        assert "alice" not in replay.text


async def test_session_without_a_card_is_nobodys(broker: Broker, nats_client: Client) -> None:
    """Of former times, or begun by a foreign pod."""
    async with running(broker.url, role="all", id="old") as mesh, client_of(mesh) as client:
        answer = await client.post("/v1/sessions/s/messages", json={"message": "old"}, headers=STREAM)
        assert answer.status_code == 200
    async with asking(broker.url) as (_, client):
        assert (await client.get("/v1/sessions/s/messages", headers=alice())).status_code == 404
        assert await stored.records(nats_client, "s")
        answer = await client.get("/v1/sessions/s/events?from=start", headers=alice())
        assert answer.status_code == 404


# --- time is over ---------------------------------------------------------------------------------------------------------


async def test_stream_ends_when_its_token_does_and_goes_on_with_a_fresh_one(
    client: httpx.AsyncClient,
) -> None:
    await say(client, "alice")
    short = bearer(token("alice", exp=int(time.time()) + 6))
    answer = await client.get("/v1/sessions/s/events?from=start", headers=short)
    assert answer.status_code == 200
    assert re.search(r'event: drain\nretry: \d+\ndata: {"reason":"token_expired"}\n\n$', answer.text)
    position = re.findall(r"^id: (.+)$", answer.text, re.MULTILINE)[-1]
    await say(client, "alice", text="more")
    again = {"Last-Event-ID": position}
    assert (await client.get("/v1/sessions/s/events", headers=short | again)).status_code == 401
    async with client.stream("GET", "/v1/sessions/s/events", headers=alice() | again) as reader:
        heard = "".join([line async for line in _until_final(reader)])
    assert '"chunk":"more"' in heard
    assert '"chunk":"a "' not in heard


async def test_other_formats_are_cut_when_the_token_ends(client: httpx.AsyncClient) -> None:
    slow = {"model": "count", "tokens_per_second": 5, "max_tokens": 100, "stream": True}
    short = bearer(token("alice", exp=int(time.time()) + 6))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/v1/chat/completions", json=COMPLETION | slow, headers=short)


async def test_who_waits_in_a_session_that_another_begins_hears_nothing_of_its_erasure(
    broker: Broker,
) -> None:
    async with asking(broker.url) as (_, client):
        waiting = client.stream("GET", "/v1/sessions/s/events?message_id=m7", headers=bob())
        async with waiting as stranger:
            assert stranger.status_code == 200
            await say(client, "alice", text="x")
            assert (await client.delete("/v1/sessions/s", headers=alice())).status_code == 202
            await say(client, "alice", text="y")  # its turn comes behind the erasure's
            assert (await client.delete("/v1/sessions/s", headers=alice())).status_code == 202
            await say(client, "bob", text="mine", message_id="m7")
            told = [line async for line in _until_final(stranger)]
    said = [line for line in told if line.startswith(("event:", "data:"))]
    assert "mine" in said[0]
    assert all('"message_id":"m7"' in line for line in said)


async def test_streams_of_a_revoked_key_end_and_it_gets_in_no_more(broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    alice_id, alice_key = add_key(file, "alice")
    _, bob_key = add_key(file, "bob")
    settings = ("auth.mode=api_keys", f"auth.keys_file={file}")
    async with running(broker.url, *settings) as mesh, client_of(mesh) as client:
        for session, key in (("sa", alice_key), ("sb", bob_key)):
            answer = await client.post(
                f"/v1/sessions/{session}/messages", json={"message": "a"}, headers={"x-api-key": key} | STREAM
            )
            assert answer.status_code == 200
        async with client.stream("GET", "/v1/sessions/sb/events", headers={"x-api-key": bob_key}) as other:
            async with client.stream("GET", "/v1/sessions/sa/events", headers=bearer(alice_key)) as reader:
                assert reader.status_code == 200
                await eventually(lambda: _readers(mesh) == 2)
                kept = [line for line in file.read_text().split("\n- ") if alice_id not in line]
                file.write_text("\n- ".join(kept))
                assert b'{"reason":"revoked"}' in await reader.aread()
            assert other.status_code == 200
            await eventually(lambda: _readers(mesh) == 1)
        assert (await client.get("/v1/sessions", headers=bearer(alice_key))).status_code == 401
        file.write_text("keys: [broken")
        assert (await client.get("/v1/sessions", headers=bearer(bob_key))).status_code == 200


def _readers(mesh: Mesh) -> float:
    from prometheus_client import REGISTRY  # noqa: PLC0415

    return REGISTRY.get_sample_value("chatmesh_readers") or 0.0


async def _until_final(reader: httpx.Response) -> AsyncIterator[str]:
    async for line in reader.aiter_lines():
        yield line
        if '"is_final":true' in line:
            return
