"""The Vercel AI SDK's own chat talks to a pod: says something, comes back, is stopped, is told what failed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.support import ACK_WAIT, StartProcess, claims, count_text, start_worker
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import HELD_TOKENS, calls, gate, models, text
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.vercel.chats import PATIENCE_SECONDS, RESUME, Chats

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACE = "demo.tokens_per_second=40"
TOKENS = 200
"""Five seconds of them: what happens in mid-answer happens before its end, also where a chat shows it late."""
COUNT = {"model": "count", "context": {"max_tokens": TOKENS}}
ENDLESS = {"model": "count", "context": {"max_tokens": 100_000, "tokens_per_second": 50}}


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None
    return mesh.server.url


async def test_chat_shows_the_answer_and_natively_it_is_the_same(broker: Broker, chats: Chats) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        async with chats(url_of(mesh), "one two", "three", body={"model": "echo"}) as chat:
            first, second = await chat.is_done(), await chat.is_done(2)
        assert (first.text, first.status, first.error) == ("one two", "ready", None)
        assert first.line["end"]["finishReason"] == "stop"
        assert second.text == "three"
        assert len(second.answers) == 2
        rows = (await http.get("/v1/sessions/c/messages")).json()["messages"]
        assert [row["content"] for row in rows] == ["one two", "one two", "three", "three"]


async def test_chat_that_was_cut_comes_back_to_the_whole_answer_once(broker: Broker, chats: Chats) -> None:
    async with (
        running(broker.url, PACE) as mesh,
        FaultProxy(int(url_of(mesh).rpartition(":")[2])) as proxy,
        chats(f"http://127.0.0.1:{proxy.port}", "go", RESUME, body=COUNT) as chat,
    ):
        await chat.shows(lambda shown: shown.text.startswith("1 2 3 "))
        proxy.cut()
        cut = await chat.is_done()
        assert (cut.status, cut.line["end"]["isError"]) == ("error", True)
        assert cut.text != count_text(TOKENS)
        whole = await chat.is_done(2)
    assert (whole.status, whole.text) == ("ready", count_text(TOKENS))
    assert len(whole.answers) == 1
    assert whole.answers[0]["id"] == cut.answers[0]["id"]


async def test_page_that_is_loaded_anew_finds_what_is_being_answered_at_another_pod(
    broker: Broker, chats: Chats
) -> None:
    go_on = gate()
    async with (
        running(broker.url, models("held"), id="one") as one,
        running(broker.url, id="two", role="pod") as two,
        chats(url_of(one), "go", body={"model": "held"}) as first,
    ):
        begun = await first.shows(lambda shown: shown.text)
        known = begun.line["messages"][:1]
        async with chats(url_of(two), RESUME, messages=known) as second:
            await second.shows(lambda shown: shown.text)
            go_on.set()
            whole = await second.is_done()
        assert whole.text == (await first.is_done()).text == count_text(HELD_TOKENS)
        assert whole.answers[0]["id"] == begun.answers[0]["id"]


async def test_answer_begun_natively_is_resumed(broker: Broker, chats: Chats) -> None:
    go_on = gate()
    async with (
        running(broker.url, models("held")) as mesh,
        client_of(mesh) as http,
        events(http, "c") as stream,
    ):
        await post(http, "c", model="held")
        await stream.read(1)
        async with chats(url_of(mesh), RESUME) as chat:
            await chat.shows(lambda shown: shown.text)
            go_on.set()
            assert (await chat.is_done()).text == count_text(HELD_TOKENS)


async def test_nothing_to_come_back_to_is_204_and_no_error(broker: Broker, chats: Chats) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        assert (await http.get("/api/chat/c/stream")).status_code == 204
        async with chats(url_of(mesh), "one", RESUME, body={"model": "echo"}) as chat:
            shown = await chat.is_done(2)
        assert (shown.status, shown.text, len(shown.answers)) == ("ready", "one", 1)
        assert (await http.get("/api/chat/c/stream")).status_code == 204


async def test_answer_that_ended_and_is_not_acknowledged_yet_is_nothing_to_come_back_to(
    broker: Broker, nats_client: Client
) -> None:
    """Its worker has died between the two, so that it is in the queue still. Written by hand."""
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as http:
        assert (await post(http, "c", message_id="m")).status_code == 202
        js = nats_client.jetstream(timeout=5)
        claim = {"session_id": "c", "message_id": "m", "worker_id": "dead", "boot": "0", "nonce": "0"}
        claim |= {"attempt": 1, "base": 0, "first": 0, "offset": 0, "timestamp": ""}  # type: ignore[dict-item]
        fence = (await js.publish("chat.session.c.claim", json.dumps(claim).encode())).seq
        final = {"chunk_id": 0, "chunk": "", "chunk_type": "content", "is_final": True, "metadata": {}}
        record = {"session_id": "c", "message_id": "m", "offset": 1, "attempt": 1, "token": fence}
        await js.publish("chat.session.c.transcript.m", json.dumps(record | {"chunks": [final]}).encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await http.get("/api/chat/c/stream")).status_code == 204


async def test_stop_ends_the_answer_and_its_text_stays(broker: Broker, chats: Chats) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        async with chats(url_of(mesh), "go", body=ENDLESS) as chat:
            await chat.shows(lambda shown: shown.text)
            answer = await http.post("/api/chat/c/stop")
            assert len(answer.json()["stopped"]) == 1
            shown = await chat.is_done()
        assert (shown.status, shown.error) == ("ready", None)
        assert shown.text.startswith("1 ")
        assert shown.parts[-1]["state"] == "done"
        assert (await http.post("/api/chat/c/stop")).json() == {"stopped": []}
        (_, row) = (await http.get("/v1/sessions/c/messages")).json()["messages"]
        assert (row["status"], row["content"]) == ("stopped", shown.text)


async def test_chat_that_leaves_stops_nothing(broker: Broker, chats: Chats) -> None:
    async with running(broker.url, PACE) as mesh, client_of(mesh) as http:
        async with chats(url_of(mesh), "go", body=COUNT) as chat:
            await chat.shows(lambda shown: shown.text)
        async with events(http, "c") as stream:
            assert (await stream.read_finals()).text == count_text(TOKENS)


async def test_what_failed_is_shown_as_a_sentence(broker: Broker, chats: Chats) -> None:
    settings = (models("raising"), "worker.max_attempts=1")
    async with running(broker.url, *settings) as mesh:
        async with chats(url_of(mesh), "go", body={"model": "raising"}) as chat:
            shown = await chat.is_done()
        assert (shown.status, shown.text) == ("error", "half ")
        assert "attempts" in (shown.error or "")
        async with chats(url_of(mesh), "go", id="d", body={"model": "nobody's"}) as chat:
            refused = await chat.is_done()
    assert refused.error is not None
    assert refused.error.startswith("No worker serves the model")


async def test_tools_that_the_model_wants_are_parts_of_the_answer(broker: Broker, chats: Chats) -> None:
    async with (
        running(broker.url, models("calling_two")) as mesh,
        chats(url_of(mesh), "go", body={"model": "calling_two"}) as chat,
    ):
        shown = await chat.is_done()
    assert [(part["type"], part["state"]) for part in shown.parts] == [
        (f"tool-{name}", "input-available") for name, _ in calls()
    ]
    assert shown.parts[0]["input"] == {"city": "Bern"}
    assert shown.line["end"]["finishReason"] == "tool-calls"


async def test_chat_goes_on_when_its_worker_is_killed(
    broker: Broker, chats: Chats, nats_client: Client, chatmesh: StartProcess
) -> None:
    async with running(broker.url, ACK_WAIT, role="pod") as pod:
        worker = await start_worker(chatmesh, nats_client, broker.url, "w1", PACE)
        async with chats(url_of(pod), "go", body=COUNT) as chat:
            shown = await chat.shows(lambda shown: shown.text.startswith("1 2 3 "))
            worker.kill()
            await start_worker(chatmesh, nats_client, broker.url, "w2", PACE)
            whole = await chat.is_done()
    assert (whole.status, whole.text, whole.error) == ("ready", count_text(TOKENS), None)
    assert len(await claims(nats_client, "c", shown.line["messages"][0]["id"])) == 2


async def test_answer_that_begins_anew_cuts_the_chat_which_comes_back_to_the_new_one(
    broker: Broker, chats: Chats, nats_client: Client, chatmesh: StartProcess
) -> None:
    """The model can't go on behind what was shown, and the format can't take it back."""

    def begin(*arguments: str) -> Any:
        return chatmesh(*arguments, env={"PYTHONPATH": str(ROOT)})

    model = models("restarting")
    async with running(broker.url, ACK_WAIT, role="pod") as pod:
        worker = await start_worker(begin, nats_client, broker.url, "w1", model)
        async with chats(url_of(pod), "go", RESUME, body={"model": "restarting"}) as chat:
            await chat.shows(lambda shown: shown.text)
            worker.kill()
            await start_worker(begin, nats_client, broker.url, "w2", model)
            assert (await chat.is_done()).line["end"]["isError"]
            whole = await chat.is_done(2)
    assert whole.text == text(attempt=2)
    assert len(whole.answers) == 1


def said(text: str, role: str = "user", **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "text": text}], **more}


async def test_messages_are_the_whole_conversation_and_one_message_goes_on_in_the_sessions_own(
    broker: Broker,
) -> None:
    async with running(broker.url, models("remembering")) as mesh, client_of(mesh) as http:
        tool = {
            "type": "tool-look",
            "toolCallId": "c",
            "state": "output-available",
            "input": {},
            "output": [1],
        }
        messages = [
            said("Be brief.", "system"),
            said("one"),
            {"role": "assistant", "parts": [{"type": "step-start"}, tool]},
            said("two", id="u2"),
        ]
        body = {"id": "c", "model": "remembering"}
        told = await http.post("/api/chat", json=body | {"messages": messages})
        assert delta_of(told) == '[["user", "one"], ["assistant", null], ["tool", "[1]"]]'
        again = await http.post("/api/chat", json=body | {"messages": messages})
        assert again.text == told.text, "sent twice, it is one message"
        alone = await http.post("/api/chat", json=body | {"message": said("three", id="u3")})
        assert '["user", "two"]' in delta_of(alone)


def delta_of(answer: httpx.Response) -> str:
    (line,) = [line for line in answer.text.splitlines() if '"type":"text-delta"' in line]
    delta: str = json.loads(line.removeprefix("data: "))["delta"]
    return delta


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"id": "a b", "messages": [said("x")]}, 422, "id: "),
        ({"id": "c"}, 422, "Send messages"),
        ({"id": "c", "messages": []}, 422, "Send messages"),
        ({"id": "c", "message": {"role": "user", "parts": [{"type": "file"}]}}, 422, "Files"),
    ],
)
async def test_refusals_are_a_plain_sentence(
    broker: Broker, body: dict[str, Any], status: int, says: str
) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as http:
        answer = await http.post("/api/chat", json=body)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.startswith(says)


async def test_message_that_is_answered_anew_is_another_one(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        body = {"id": "c", "model": "echo", "messages": [said("one", id="u1")]}
        first = await http.post("/api/chat", json=body | {"trigger": "submit-message"})
        second = await http.post("/api/chat", json=body | {"trigger": "regenerate-message", "messageId": "x"})
        assert '"messageId":"answer_u1"' in first.text
        assert '"messageId":"answer_u1"' not in second.text
        rows = (await http.get("/v1/sessions/c/messages")).json()["messages"]
        assert len(rows) == 4
