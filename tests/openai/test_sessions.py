"""A completion is a message of a session: the one that is named, and everybody sees the same there."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.faults.support import count_text
from tests.openai.support import rows, said, sdk, wait_answering
from tests.openai.test_sdk import url_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events

PATH = "/v1/chat/completions"


def asking(**more: object) -> dict[str, object]:
    return {"model": "echo", "messages": said("one two three"), **more}


async def test_native_history_and_events_of_the_session_show_the_same_answer(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, sdk(url_of(mesh)) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="echo", messages=said("one two three")
        )
        answer = raw.parse()
        session_id, message_id = raw.headers["x-session-id"], raw.headers["x-message-id"]
        assert answer.id == f"chatcmpl-{message_id}"
        assert raw.headers["x-should-retry"] == "false"
        user, assistant = await rows(http, session_id)
        assert (user["message_id"], user["content"]) == (message_id, "one two three")
        assert user["correlation_id"] == raw.headers["x-request-id"]
        assert assistant["content"] == answer.choices[0].message.content
        async with events(http, session_id, message_id=message_id) as stream:
            assert (await stream.read_all()).text == "one two three"


@pytest.mark.parametrize("stream", [False, True])
async def test_session_is_the_one_that_is_named_in_the_order_of_the_places(
    broker: Broker, stream: bool
) -> None:
    chat = {"X-OpenWebUI-Chat-Id": "chat", "X-OpenWebUI-User-Id": "ann"}
    named = asking(stream=stream, metadata={"session_id": "meta", "more": "x"})
    async with running(broker.url) as mesh, client_of(mesh) as http:

        async def session_of(body: dict[str, object], headers: dict[str, str]) -> str:
            answer = await http.post(PATH, json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return str(answer.headers["x-session-id"])

        assert await session_of(named, chat | {"X-Session-Id": "head"}) == "head"
        assert await session_of(named, chat) == "meta"
        assert await session_of(asking(stream=stream), chat) == "chat"
        new = {await session_of(asking(stream=stream), {}) for _ in range(2)}
        # Open WebUI's temporary chats are nobody's to come back to, and named alike.
        new |= {
            await session_of(asking(stream=stream), {"X-OpenWebUI-Chat-Id": name})
            for name in ("local", "local", "local:x")
        }
        assert len(new) == 5
        assert (await rows(http, "chat"))[0]["user_id"] == "ann"


async def test_second_request_in_a_busy_session_waits_and_is_kept_alive_by_comments(broker: Broker) -> None:
    headers = {"X-Session-Id": "s"}
    slow = {
        "model": "count",
        "messages": said("x"),
        "max_tokens": 30,
        "tokens_per_second": 10,
        "stream": True,
    }
    async with running(broker.url, "sse.keepalive_seconds=0.5") as mesh, client_of(mesh) as http:
        first = asyncio.create_task(http.post(PATH, json=slow, headers=headers))
        await wait_answering(http, "s")
        second = await http.post(PATH, json=asking(stream=True), headers=headers)
        assert (await first).text.endswith("data: [DONE]\n\n")
        answers = [row["content"] for row in await rows(http, "s") if row["role"] == "assistant"]
    blocks = [block for block in second.text.split("\n\n") if block]
    assert blocks[-1] == "data: [DONE]"
    assert blocks.count(":") >= 2
    assert all(block.startswith(("data: ", ":")) for block in blocks)
    assert answers == [count_text(30), "one two three"]


async def test_odd_headers_hurt_nobody(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        for name in ("X-OpenWebUI-User-Id", "Authorization", "x-stainless-retry-count", "traceparent"):
            answer = await http.post(PATH, json=asking(), headers=[(name.encode(), b"\xff\xfe 1")])
            assert answer.status_code == 200, (name, answer.text)
        for chat in (b"a.b", b"\xff"):
            refused: httpx.Response = await http.post(
                PATH,
                json=asking(),
                headers=[(b"X-OpenWebUI-Chat-Id", chat)],
            )
            assert (refused.status_code, refused.json()["error"]["param"]) == (422, "X-OpenWebUI-Chat-Id")
