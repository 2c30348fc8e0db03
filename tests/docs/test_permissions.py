"""The allow-list in docs/operations.md is enough: a mesh, and an operator, under exactly these permissions do all that they
do."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from chatmesh.operate.permissions import OPERATOR, POD, WORKER, Needs
from tests.docs.pages import page, rows
from tests.operate.support import Start, finished
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.waiting import eventually

PATHS = "/v1/sessions/s/messages"


async def test_pod_and_worker_do_all_they_do_under_the_permissions_on_the_page(tmp_path: Path) -> None:
    users = [{"user": "deploy", "password": "x"}]
    users += [_user("pod", "p1"), _user("worker", "w1")]
    broker = await Broker.start(tmp_path, config_extra=f"authorization {json.dumps({'users': users})}\n")
    try:
        async with running(broker.url, *_login("deploy"), role="worker", id="w0"):
            pass  # makes the streams, which the others may not
        async with (
            running(broker.url, *_login("worker"), role="worker", id="w1"),
            running(broker.url, *_login("pod"), role="pod", id="p1") as pod,
            client_of(pod) as client,
        ):
            slow = {"message": "", "context": {"model": "count", "tokens_per_second": 20}}
            for number in (1, 2):
                answer = await client.post(PATHS, json=slow | {"message_id": f"m{number}"})
                assert answer.status_code == 202
            await asyncio.gather(*(client.delete(f"{PATHS}/m{number}") for number in (1, 2)))
            stream = {"Accept": "text/event-stream"}
            answered = await client.post(PATHS, json={"message": "a b", "message_id": "m3"}, headers=stream)
            assert '"is_final":true' in answered.text
            statuses = {
                row["message_id"]: row["status"] for row in (await client.get(PATHS)).json()["messages"]
            }
            assert statuses == {"m1": "stopped", "m2": "stopped", "m3": "done"}
            said = {"model": "echo", "messages": [{"role": "user", "content": "a b"}]}
            for count in ("0", "1"):
                headers = {"x-stainless-retry-count": count}
                assert (
                    await client.post("/v1/chat/completions", json=said, headers=headers)
                ).status_code == 200
            assert len((await client.get("/v1/sessions")).json()["sessions"]) == 2
            assert (await client.get("/v1/sessions")).json()["sessions"][0]["session_id"] == "s"
            assert (await client.delete("/v1/sessions/s")).status_code == 202
            await eventually(lambda: _is_worked_off(broker))
        assert "violation" not in broker.log().lower()
    finally:
        broker.stop()


@pytest.mark.slow
async def test_operator_does_all_he_does_under_the_permissions_on_the_page(
    chatmesh: Start, tmp_path: Path
) -> None:
    users = [{"user": "deploy", "password": "x"}, _user("operator", "ops")]
    broker = await Broker.start(tmp_path, config_extra=f"authorization {json.dumps({'users': users})}\n")

    given = [f"nats.servers={broker.url}", *_login("operator"), "id=ops"]
    settings = [part for setting in given for part in ("--set", setting)]

    async def follow(session_id: str, line: str) -> None:
        process = chatmesh("tail", session_id, "--from-start", *settings)
        await process.wait_for_line(line, stream="stdout")
        process.signal(signal.SIGINT)
        assert await process.wait(timeout=30) == 0, process.report()

    async def run(*arguments: str) -> str:
        code, process = await finished(chatmesh, *arguments, *settings)
        assert code == 0, process.report()
        return process.stdout

    try:
        client = await broker.connect(user="deploy", password="x")
        async with running(broker.url, *_login("deploy"), role="all", id="w1"):
            for body in (b"{}", b'{"message_id": "m", "session_id": "s", "message": "a b"}'):
                await client.jetstream().publish("chat.dead.s", body)
            await client.close()
            assert "2 dead letters." in await run("dlq", "list")
            await run("dlq", "show", "1")
            await run("dlq", "drop", "1")
            await run("dlq", "retry", "2")
            await eventually(lambda: _is_worked_off(broker))
            assert "Session s holds" in await run("verify", "s")
            await run("streams", "ensure")
            await run("health", "w1")
            await run("health", "w1", "--worker")
            assert "1 pod and 1 worker alive." in await run("ps")
            assert "1 session." in await run("sessions")
            assert "0 messages unanswered" in await run("queue")
            assert "tokens/s" in await run("top", "--once")
            await follow("s", "-- m: stop")
        assert "violation" not in broker.log().lower()
    finally:
        broker.stop()


@pytest.mark.slow
async def test_pod_shows_the_operators_page_under_its_permissions_and_leaves_dead_letters_alone(
    tmp_path: Path,
) -> None:
    users = [{"user": "deploy", "password": "x"}, _user("pod", "p1")]
    broker = await Broker.start(tmp_path, config_extra=f"authorization {json.dumps({'users': users})}\n")
    try:
        client = await broker.connect(user="deploy", password="x")
        async with (
            running(broker.url, *_login("deploy"), role="worker", id="w0"),
            running(broker.url, *_login("pod"), role="pod", id="p1") as pod,
            client_of(pod) as http,
        ):
            await client.jetstream().publish("chat.dead.s", b"{}")
            await client.close()
            async with http.stream("GET", "/v1/ops/events") as looks:
                async for line in looks.aiter_lines():
                    if line.startswith("event: "):
                        assert line == "event: frame"
                        break
            for path in ("sessions", "dead-letters"):
                assert (await http.get(f"/v1/ops/{path}")).status_code == 200
            assert "violation" not in broker.log().lower()
            answer = await http.post("/v1/ops/dead-letters/1/retry")
            assert (answer.status_code, answer.json()["code"]) == (503, "broker_away")
            assert "may not remove dead letters" in answer.json()["detail"]
            assert len((await http.get("/v1/ops/dead-letters")).json()["letters"]) == 1
            assert (await http.get("/readyz")).status_code == 200
    finally:
        broker.stop()


@pytest.mark.parametrize(("role", "needs"), [("pod", POD), ("worker", WORKER), ("operator", OPERATOR)])
def test_permissions_that_are_tried_are_those_on_the_page(role: str, needs: Needs) -> None:
    permissions = _user(role, "p1")["permissions"]
    for kind, entries in (("publish", needs.publish), ("subscribe", needs.subscribe)):
        assert set(permissions[kind]["allow"]) == {entry.replace("{id}", "p1") for entry in entries}


async def _is_worked_off(broker: Broker) -> bool:
    """The erase request too: the queue is empty."""
    client = await broker.connect(user="deploy", password="x")
    try:
        return (await client.jetstream().stream_info("WORKFLOW_REQUESTS")).state.messages == 0
    finally:
        await client.close()


def _login(user: str) -> tuple[str, ...]:
    return (f"nats.user={user}", "nats.password=x", "default_model=echo")


def _user(role: str, id: str) -> dict[str, Any]:
    """What the page's table allows a role; what it names for making streams is left out."""
    allowed: dict[str, list[str]] = {"publish": [], "subscribe": [f"_INBOX.{id}.>"]}
    for who, publish, subscribe in rows(
        page("docs/operations.md")
        .section("The broker")
        .partition("### Permissions")[2]
        .partition("\n### ")[0]
    ):
        if who in ("all", role):
            always = publish.partition("to make streams by itself")[0]
            allowed["publish"] += _subjects(always, id)
            allowed["subscribe"] += _subjects(subscribe, id)
    permissions = {kind: {"allow": subjects} for kind, subjects in allowed.items()}
    return {"user": role, "password": "x", "permissions": permissions}


def _subjects(cell: str, id: str) -> list[str]:
    return [subject.replace("{id}", id) for subject in re.findall(r"`([^`]+)`", cell)]
