"""`/v1/ops/…`: what an operator's page is told, and what it may do, on a real mesh."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.console import Watch
from chatmesh.console.watch import Look
from tests.auth.support import HS, bearer, token
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.watch.support import SLOW, STREAMS_ONLY

SECRET = "a secret of hers"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks more often than each second."""
    monkeypatch.setattr("chatmesh.console.watch.INTERVAL_SECONDS", 0.1)


class Looks:
    """An open `/ops`."""

    def __init__(self, response: httpx.Response) -> None:
        self._events = EventSource(response).aiter_sse()

    async def next(self, name: str = "frame") -> dict[str, Any]:
        """The next look; or another event of that name."""
        async with asyncio.timeout(20):
            async for event in self._events:
                if event.event == name:
                    body: dict[str, Any] = json.loads(event.data)
                    return body
        raise AssertionError(f"the stream ended without {name}")


@asynccontextmanager
async def looking(client: httpx.AsyncClient, **headers: str) -> AsyncIterator[Looks]:
    async with client.stream("GET", "/v1/ops/events", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Looks(response)


def watch_of(mesh: Mesh) -> Watch:
    """The mesh's own, by one of its routes."""
    assert mesh.server is not None
    route = next(each for each in mesh.server.routes if each.path == "/v1/ops/events")
    # The handler is a bound method, which its type does not say.
    watch: Watch = route.handler.__self__._watch  # type: ignore[attr-defined]
    return watch


async def dead_letter(client: Client, session_id: str = "s", body: bytes | None = None) -> str:
    request = {"message_id": "m", "session_id": session_id, "message": SECRET, "context": {"model": "echo"}}
    data = json.dumps(request).encode() if body is None else body
    ack = await client.jetstream().publish(
        f"chat.dead.{session_id}", data, headers={"Chatmesh-Reason": "too new"}
    )
    return str(ack.seq)


async def test_look_has_the_mesh_its_queue_and_when_what_happened_and_nothing_of_what_was_said(
    broker: Broker,
) -> None:
    async with running(broker.url, id="a") as mesh, client_of(mesh) as http, events(http, "s") as stream:
        await post(http, "s", SECRET, message_id="m", **SLOW)
        await post(http, "s", SECRET, message_id="stopped", **SLOW)
        await stream.read(2)
        async with looking(http) as looks:
            first, second = await looks.next(), await looks.next()
            while not (second["rates"]["tokens_per_second"] and second["messages"]):
                second = await looks.next()
            for message in ("stopped", "m"):
                await http.delete(f"/v1/sessions/s/messages/{message}")
            await stream.read_finals(2)
            third = await ended(looks)
    assert {(each["role"], each["state"]) for each in first["members"]} == {
        ("pod", "alive"),
        ("worker", "alive"),
    }
    assert (first["pod_id"], first["rates"]) == ("a", None)
    assert all(each["subscriptions"] > 0 for each in first["members"])
    assert second["rates"]["tokens_per_second"] > 0
    assert second["batches_per_second"] > 0
    assert [each["stage"] for each in second["queue"]["requests"]][:1] == ["running"]
    queued, told = second["messages"]
    assert (queued["message_id"], queued["attempts"], queued["ended_at"]) == ("stopped", [], None)
    assert told["accepted_at"] <= told["attempts"][0]["began_at"] <= told["first_at"] <= told["last_at"]
    assert (told["ended_at"], told["pods"]) == (None, ["a"])
    stopped, told = third["messages"]
    assert (stopped["outcome"], told["outcome"]) == ("cancelled", "cancelled")
    assert told["attempts"][0]["ended_at"] == told["ended_at"] >= told["first_at"]
    names = ["publish_rate", "delivery_lag", "message_size", "errors", "subscriptions"]
    assert [tile["name"] for tile in second["tiles"]] == names
    assert second["tiles"][4]["value"] > 0
    assert second["readers"]["open"] == 1
    assert "secret" not in json.dumps([first, second, third])


async def ended(looks: Looks) -> dict[str, Any]:
    """The first look in which every message has ended."""
    while True:
        look = await looks.next()
        if all(told["ended_at"] is not None for told in look["messages"]):
            return look


async def test_mesh_is_looked_at_once_for_all_and_only_while_somebody_looks(broker: Broker) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh, client_of(mesh) as http:
        watch = watch_of(mesh)
        assert (watch.viewers, watch._number) == (0, 0)
        async with looking(http) as one, looking(http) as other:
            theirs = await other.next()
            while (mine := await one.next())["at"] < theirs["at"]:
                continue  # of before the other one came
            assert mine == theirs, "the same looks"
            assert await one.next() == await other.next()
            assert watch.viewers == 2
        await eventually(lambda: not watch.is_looking)
        assert watch.viewers == 0
        number = watch._number
        async with looking(http) as again:
            assert (await again.next())["rates"] is None, "what was remembered went with the last viewer"
        assert watch._number > number


async def test_one_who_is_too_much_is_told_to_come_back(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatmesh.console.watch.MOST_VIEWERS", 1)
    async with (
        running(broker.url, role=STREAMS_ONLY) as mesh,
        client_of(mesh) as http,
        looking(http) as looks,
    ):
        await looks.next()
        refused = await http.get("/v1/ops/events")
    assert (refused.status_code, refused.text) == (200, "retry: 100\n\n")


async def test_look_that_fails_fells_nothing(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_look: Look) -> dict[str, Any]:
        raise RuntimeError("a bug")

    async with (
        running(broker.url, role=STREAMS_ONLY) as mesh,
        client_of(mesh) as http,
        looking(http) as looks,
    ):
        await looks.next()
        with monkeypatch.context() as patch:
            patch.setattr(Look, "frame", fail)
            for _ in range(8):  # more often than a child may crash
                assert "failed" in (await looks.next("away"))["reason"]
        await looks.next()


@pytest.mark.slow
async def test_broker_that_is_away_is_told_and_so_is_a_pod_that_leaves(broker: Broker) -> None:
    async with (
        running(broker.url, role=STREAMS_ONLY) as mesh,
        client_of(mesh) as http,
        looking(http) as looks,
    ):
        await looks.next()
        broker.kill()
        assert (await looks.next("away"))["reason"]
        await broker.launch()
        await looks.next()
        mesh.tree.drain()
        assert await looks.next("drain") == {"reason": "leaving"}


async def test_dead_letters_are_listed_retried_once_and_dropped(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, events(http, "s") as stream:
        one, two = await dead_letter(nats_client), await dead_letter(nats_client, "t", b"garbage")
        listed = await http.get("/v1/ops/dead-letters")
        rows = listed.json()["letters"]
        assert [(row["letter_id"], row["message_id"], row["reason"]) for row in rows] == [
            (one, "m", "too new"),
            (two, None, "too new"),
        ]
        assert "secret" not in listed.text
        retried = await http.post(f"/v1/ops/dead-letters/{one}/retry")
        assert (retried.status_code, retried.json()["message_id"]) == (200, "m")
        assert (await stream.read_finals()).text == SECRET
        again = await http.post(f"/v1/ops/dead-letters/{one}/retry")
        assert (again.status_code, again.json()["code"]) == (404, "unknown_letter")
        dropped = await http.delete(f"/v1/ops/dead-letters/{two}")
        assert dropped.json() == {"letter_id": two, "status": "dropped"}
        assert (await http.get("/v1/ops/dead-letters")).json() == {"letters": [], "next": None}


async def test_letter_whose_message_is_queued_still_is_no_second_one(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh, client_of(mesh) as http:
        await post(http, "s", SECRET, message_id="m")
        letter = await dead_letter(nats_client)
        refused = await http.post(f"/v1/ops/dead-letters/{letter}/retry")
        assert (refused.status_code, refused.json()["code"]) == (409, "still_queued")
        assert len((await http.get("/v1/ops/dead-letters")).json()["letters"]) == 1


async def test_page_of_another_origin_may_not_act(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh, client_of(mesh) as http:
        letter = await dead_letter(nats_client)
        evil = {"Origin": "https://evil.example"}
        for method, path in (("POST", f"{letter}/retry"), ("DELETE", letter)):
            refused = await http.request(method, f"/v1/ops/dead-letters/{path}", headers=evil)
            assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
        assert len((await http.get("/v1/ops/dead-letters")).json()["letters"]) == 1


async def test_sessions_are_found_by_what_they_are_called_and_do(broker: Broker) -> None:
    async with running(broker.url, id="a") as mesh, client_of(mesh) as http:
        for name in ("blue-1", "blue-2", "green-1"):
            async with events(http, name) as stream:
                await post(http, name, SECRET, model="echo")
                await stream.read_finals()
        found = await eventually(lambda: idle(http, "blue-*"))
        assert {row["session_id"] for row in found} == {"blue-1", "blue-2"}
        assert {row["worker_id"] for row in found} == {"a"}
        page = (await http.get("/v1/ops/sessions", params={"limit": "1"})).json()
        assert len(page["sessions"]) == 1
        rest = (await http.get("/v1/ops/sessions", params={"before": str(page["next"])})).json()
        assert len(rest["sessions"]) == 2
        assert "secret" not in json.dumps([page, rest])
        for bad in ({"ids": "a.b"}, {"state": "odd"}, {"before": "-1"}, {"limit": "0"}):
            assert (await http.get("/v1/ops/sessions", params=bad)).status_code == 422


async def idle(http: httpx.AsyncClient, ids: str) -> list[dict[str, Any]]:
    answer = await http.get("/v1/ops/sessions", params={"ids": ids, "state": "idle"})
    rows: list[dict[str, Any]] = answer.json()["sessions"]
    assert len(rows) == 2, rows
    return rows


async def test_replay_has_each_piece_with_its_time_in_order(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, events(http, "s") as stream:
        await post(http, "s", SECRET, message_id="m", model="echo")
        await stream.read_finals()
        body = (await http.get("/v1/ops/sessions/s/replay")).json()
        assert (await http.get("/v1/ops/sessions/nobody/replay")).json()["code"] == "unknown_session"
    kinds = [piece["kind"] for piece in body["pieces"]]
    assert (kinds[0], kinds[-1], body["next"], body["is_readable"]) == ("question", "end", None, True)
    assert "".join(piece["text"] for piece in body["pieces"] if piece["kind"] == "answer") == SECRET
    times = [piece["at"] for piece in body["pieces"]]
    assert times == sorted(times)


async def test_operating_alone_reads_nobodys_messages(broker: Broker, logs: list[Any]) -> None:
    operator = bearer(token("olga", scope="operate"))
    own, stranger = bearer(token("alice")), bearer(token("alice", scope="chat read operate"))
    async with running(broker.url, *HS) as mesh, client_of(mesh) as http:
        said = {"message": SECRET, "context": {"model": "echo"}}
        await http.post("/v1/sessions/s/messages", json=said, headers=own | {"Accept": "text/event-stream"})
        assert (await http.get("/v1/ops/sessions", headers=own)).json()["code"] == "missing_scope"
        assert (await http.get("/ops")).status_code == 200
        async with looking(http, **operator) as looks:
            frame = await looks.next()
        rows = (await http.get("/v1/ops/sessions", headers=operator)).text
        blind = (await http.get("/v1/ops/sessions/s/replay", headers=operator)).json()
        seen = (await http.get("/v1/ops/sessions/s/replay", headers=stranger)).json()
    assert blind["is_readable"] is False
    assert sum(piece["characters"] for piece in blind["pieces"] if piece["kind"] == "answer") == len(SECRET)
    assert "secret" not in json.dumps([frame, blind]) + rows
    assert "secret" in json.dumps(seen)
    assert [(each["user_id"], each["is_readable"]) for each in logs if each["event"] == "console.replay"] == [
        ("olga", False),
        ("alice", True),
    ]


@pytest.mark.slow
async def test_stream_ends_with_its_token(broker: Broker) -> None:
    async with running(broker.url, *HS) as mesh, client_of(mesh) as http:
        soon = bearer(token("olga", scope="operate", exp=int(time.time()) + 6))
        async with looking(http, **soon) as looks:
            assert await looks.next("drain") == {"reason": "token_expired"}
