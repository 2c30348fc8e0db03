"""Event streams: nothing that a user, a model or a stranger on NATS wrote is more than a string in one line of JSON."""

from __future__ import annotations

import json
import re

import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.protocol.positions import MAX_LENGTH
from tests.attacks.wire import CHAT, NATIVE, RESPONSES, VERCEL, Answer, Door, ask
from tests.auth.support import bearer, say, token
from tests.hostile.support import chunk
from tests.support.mesh import client_of
from tests.support.reading import Reading, Stream

FORGED = (
    "a\n\nevent: reset\ndata: {}\n\n",
    "b\r\n\r\nid: 1\r\nevent: drain\r\ndata: {}\r\n\r\n",
    'c\r\rdata: {"forged": 1}\r\r',
    'd\u2028\u2028data: {"forged": 1}\u2028\u2028',
    'e\u0085\u0085data: {"forged": 1}\u0085\u0085',
    'f\x0b\x0c\x1c\x1d\x1edata: {"forged": 1}',
    "g\x00\x00data: [DONE]",
    ": comment\nretry: 1\n",
)
WORDS = "".join(FORGED).replace("\x00", "")

LINE = re.compile(
    rb"data: (\{.*\}|\[DONE\])|id: [0-9a-z.]{1,64}|event: (reset|drain|response(\.[a-z_]+)+|error)|retry: [0-9]+|:.*"
)


def lines_of(answer: Answer) -> list[bytes]:
    """As the sloppiest client splits them: Python's `splitlines` of the text."""
    return [line.encode() for line in answer.body.decode().splitlines() if line]


def said(door: Door, text: str) -> bytes:
    """The door's request with that text, to be answered by an echo as a stream."""
    body = {
        NATIVE.path: {"message": text, "context": {"model": "echo"}},
        CHAT.path: {"model": "echo", "stream": True, "messages": [{"role": "user", "content": text}]},
        RESPONSES.path: {"model": "echo", "stream": True, "input": text},
        VERCEL.path: {
            "id": "s",
            "model": "echo",
            "message": {"role": "user", "parts": [{"type": "text", "text": text}]},
        },
    }[door.path]
    return Door("POST", door.path, body).request({"Accept": "text/event-stream"})


@pytest.mark.parametrize("door", [NATIVE, CHAT, RESPONSES, VERCEL], ids=lambda door: door.path)
async def test_text_with_line_ends_forges_no_event_in_any_format(mesh: Mesh, door: Door) -> None:
    answer = await ask(mesh, said(door, WORDS))
    assert answer.status == 200
    assert b"\r" not in answer.body
    lines = lines_of(answer)
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    told = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    assert not any("forged" in event for event in told)
    assert sum(line == b"data: [DONE]" for line in lines) <= 1
    assert b"event: drain" not in lines
    assert b"event: reset" not in lines


async def test_whole_text_with_line_ends_is_told_as_it_was_said(mesh: Mesh) -> None:
    answer = await ask(mesh, said(NATIVE, WORDS))
    chunks = [json.loads(line[6:]) for line in lines_of(answer) if line.startswith(b"data: {")]
    assert "".join(each["chunk"] for each in chunks) == WORDS


async def test_failure_with_line_ends_forges_no_event(mesh: Mesh) -> None:
    """A model's name stands in the error of the answer."""
    model = 'no\r\n\r\ndata: {"forged": 1}\r\n\r\n'
    body = NATIVE.body | {"context": {"model": model}}
    answer = await ask(mesh, Door("POST", NATIVE.path, body).request({"Accept": "text/event-stream"}))
    assert (answer.status, answer.code) == (422, "unknown_model")
    assert b"\r" not in answer.body
    assert b"\n" not in answer.body


async def test_strangers_chunk_that_is_written_over_lines_is_one_event(
    mesh: Mesh, nats_client: Client
) -> None:
    """JSON may have line ends between its tokens, and what is shown of it must not."""
    forged = "\r\n\r\nevent: reset\r\ndata: {}\r\n\r\n"
    body = chunk("s", "x", 0, chunk=forged, is_final=True, metadata={forged: forged, "finish_reason": "stop"})
    sent = json.dumps(body, indent=1).replace("\n", "\r\n").encode()
    async with client_of(mesh) as client:
        await say(client, "alice")
        async with client.stream("GET", "/v1/sessions/s/events", headers=bearer(token("alice"))) as response:
            stream = Stream(response, Reading())
            await say(client, "alice")
            await stream.read_finals()  # so it is live
            await nats_client.publish("chat.session.s.broadcast", sent)
            event = await stream.next()
    assert event.event == "message"
    assert json.loads(event.data)["chunk"] == forged
    assert not stream.reading.named("reset")


UNKNOWN = [
    b"x" * (MAX_LENGTH + 1),
    b"1" * 8000,
    b"*",
    b"0.0.0.0.0",
    b"-1.1.1.1.00000000",
    b"1.1.1.1.0000000g",
    b"\xff\xfe",
    b"\xd9\xa1.\xd9\xa1.1.1.00000000",
    b"1.99999999999999999999.1.1.00000000",
    b"%0d%0a",
    b"null",
    b"a\tb",
]


async def test_last_event_id_that_is_no_position_of_the_session_begins_anew(mesh: Mesh) -> None:
    async with client_of(mesh) as client:
        await say(client, "alice", message_id="m")
        other = (await say(client, "alice", "other")).split("id: ")[-1].partition("\n")[0].encode()
    door = Door("GET", "/v1/sessions/s/events?message_id=m")
    whole = await ask(mesh, Door("GET", f"{door.path}&from=start").request())
    chunks = [line for line in lines_of(whole) if line.startswith(b"data: ")]
    assert len(chunks) == 3
    for bad in [*UNKNOWN, other]:
        answer = await ask(mesh, door.request({"Last-Event-ID": bad}))
        assert answer.status == 200, bad
        lines = lines_of(answer)
        assert [line for line in lines if not LINE.fullmatch(line)] == [], bad
        reset = lines.index(b"event: reset")
        assert lines[reset + 1] == b'data: {"reason":"position_unknown"}', bad
        assert [line for line in lines if line.startswith(b"data: ")][1:] == chunks, bad
        assert bad not in answer.head + answer.body or bad == b"*", bad


async def test_last_event_id_with_control_characters_is_no_http(mesh: Mesh) -> None:
    for bad in (b"a\x00b", b"a\x0bb", b"a\x7fb", b"a\rb"):
        answer = await ask(mesh, Door("GET", "/v1/sessions/s/events").request({"Last-Event-ID": bad}))
        assert (answer.status, answer.code) == (400, "bad_http"), bad
    for quoted in ("%0D%0A", "%00", "%0B", "%FF"):
        path = f"/v1/sessions/s/events?message_id=m&last_event_id=a{quoted}b".encode()
        async with client_of(mesh) as client:
            await say(client, "alice", message_id="m")
        answer = await ask(mesh, Door("GET", "/").request(path=path))
        assert answer.status == 200, quoted
        assert b"event: reset" in lines_of(answer), quoted
