"""What the page makes of each event: its own files, from a server that says what the test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from chatmesh.protocol import sse
from chatmesh.web.pages import page_routes
from tests.browser.chat import Chat
from tests.browser.chromium import Chromium
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

QUESTION = {"message_id": "m1", "role": "user", "content": "why?", "status": "running", "finish_reason": None}
ANSWER = {**QUESTION, "role": "assistant", "content": "be"}


class Script:
    """Serves the page, a history of one half answer at position `p0`, and the streams that `say` fills.

    `asked` are the positions with which streams were asked for, oldest first."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.refusals: list[int] = []
        self.posts: list[tuple[str, str]] = []
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._pages = 0

    def routes(self) -> list[web.RouteDef]:
        session = "/v1/sessions/{session}"
        pages = [web.route(route.method, route.path, route.handler) for route in page_routes()]
        return [
            *pages,
            web.get(f"{session}/events", self._events),
            web.get(f"{session}/messages", self._history),
            web.get(f"{session}/messages/{{message}}", self._message),
            web.post(f"{session}/messages", self._post),
            web.get("/v1/models", self._models),
        ]

    def say(self, block: bytes, position: str | None = None) -> None:
        self._said.put_nowait(block if position is None else f"id: {position}\n".encode() + block)

    def chunk(self, chunk_id: int, text: str = "", *, message_id: str = "m1", **more: Any) -> None:
        body = {
            "message_id": message_id,
            "chunk_id": chunk_id,
            "chunk": text,
            "chunk_type": "content",
            **more,
        }
        self.say(sse.chunk(json.dumps(body).encode()), f"p{chunk_id}")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("Last-Event-ID") or request.query.get("last_event_id"))
        if self.refusals:
            return web.Response(status=self.refusals.pop())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 10\n\n")
        while block := await self._said.get():
            await response.write(block)
        return response

    async def _history(self, request: web.Request) -> web.Response:
        # Two pages, the first of them with a position that is not the last.
        if request.query.get("after") is None:
            return web.json_response({"messages": [QUESTION], "position": "early", "next": "second"})
        return web.json_response({"messages": [ANSWER], "position": "p0", "next": None})

    async def _message(self, request: web.Request) -> web.Response:
        return web.json_response({"message_id": request.match_info["message"], "message": "asked elsewhere"})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "echo"}]})

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.posts.append((body["message_id"], body["message"]))
        return web.json_response({}, status=503 if len(self.posts) == 1 else 202)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def chat(chromium: Chromium, script: Script) -> AsyncIterator[Chat]:
    app = web.Application()
    app.add_routes(script.routes())
    # A moment for streams that would never end; 0 would mean for ever.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        chat = await Chat.open(chromium, f"http://127.0.0.1:{runner.addresses[0][1]}/?session=s1")
        await eventually(lambda: script.asked == ["p0"], message="a stream behind the history")
        yield chat
    finally:
        await runner.cleanup()


async def test_chunks_go_behind_the_history_and_only_once(chat: Chat, script: Script) -> None:
    for chunk_id, text in ((3, "cau"), (4, "se"), (3, "cau"), (4, "se")):
        script.chunk(chunk_id, text)
    script.chunk(5, '{"input_tokens": 1}', chunk_type="metadata")
    script.chunk(6, "model is warm", chunk_type="system")
    script.say(sse.drain("leaving", 10))
    script.chunk(7, is_final=True, metadata={"finish_reason": "length"})
    assert await chat.wait_done() == [
        {"state": "done", "said": "why?", "answer": "because", "note": "Ended at the length limit."}
    ]
    assert chat.tab.errors == []


async def test_reset_of_a_message_drops_its_text_and_the_next_attempt_is_shown(
    chat: Chat, script: Script
) -> None:
    script.say(sse.reset("attempt", message_id="m1", position="p4"))
    script.chunk(5, "no idea")
    script.chunk(6, is_final=True, metadata={"finish_reason": "stop"})
    assert (await chat.wait_done())[0]["answer"] == "no idea"
    assert chat.tab.errors == []


async def test_reset_of_everything_reads_the_history_again(chat: Chat, script: Script) -> None:
    script.chunk(3, "fore and after")
    await eventually(lambda: _answer(chat, "before and after"))
    script.say(sse.reset("position_expired"))
    await eventually(lambda: script.asked == ["p0", "p0"], message="a stream behind the history")
    await eventually(lambda: _answer(chat, "be"))


@pytest.mark.parametrize(
    ("reason", "error", "state", "note"),
    [
        ("error", {"code": "provider", "message": "The model is away."}, "failed", "The model is away."),
        ("cancelled", None, "stopped", "Stopped."),
    ],
)
async def test_answer_that_did_not_end_well_says_so(
    chat: Chat, script: Script, reason: str, error: dict[str, str] | None, state: str, note: str
) -> None:
    kind = "error" if error else "content"
    script.chunk(3, is_final=True, chunk_type=kind, error=error, metadata={"finish_reason": reason})
    await eventually(lambda: _state(chat, state))
    assert await chat.turns() == [{"state": state, "said": "why?", "answer": "be", "note": note}]


async def test_message_of_another_tab_brings_its_question_along(chat: Chat, script: Script) -> None:
    script.chunk(3, is_final=True, metadata={"finish_reason": "stop"})
    script.chunk(0, "yes", message_id="m2")
    script.chunk(1, is_final=True, message_id="m2", metadata={"finish_reason": "stop"})
    await chat.wait_done(turns=2)
    await eventually(lambda: _said(chat, "asked elsewhere"))


async def test_stream_that_was_refused_is_asked_for_again_behind_the_last_chunk(
    chat: Chat, script: Script
) -> None:
    script.refusals += [502, 404]
    script.chunk(3, "cause")
    await eventually(lambda: _answer(chat, "because"))
    script.say(b"")  # the stream ends; EventSource comes back, is refused, and gives up
    await eventually(lambda: len(script.asked) == 4, message="a third stream")
    assert script.asked == ["p0", "p3", "p3", "p3"]
    script.chunk(4, is_final=True, metadata={"finish_reason": "stop"})
    await chat.wait_done()


async def test_message_is_sent_again_as_the_same_one(chat: Chat, script: Script) -> None:
    await chat.send("are you there?")
    await eventually(lambda: len(script.posts) == 2, message="a second attempt")
    assert script.posts[0] == script.posts[1]


async def _answer(chat: Chat, text: str) -> bool:
    return (await chat.turns())[-1]["answer"] == text


async def _said(chat: Chat, text: str) -> bool:
    return (await chat.turns())[-1]["said"] == text


async def _state(chat: Chat, state: str) -> bool:
    return (await chat.turns())[-1]["state"] == state
