"""A client's headers at every door: none of them is a header on NATS, but a trace that is one.

`Nats-Rollup: all` alone would wipe a stream.
"""

from __future__ import annotations

import re

from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.attacks.wire import SAYING, SHARE, TICKET, Answer, Door, Headers, ask, everything
from tests.support import stored

NATS = {
    "Nats-Rollup": "all",
    "Nats-TTL": "1s",
    "Nats-Incr": "1",
    "Nats-Msg-Id": "canary",
    "Nats-Expected-Stream": "canary",
    "Nats-Expected-Last-Sequence": "7",
    "Nats-Expected-Last-Subject-Sequence": "7",
    "Nats-Expected-Last-Msg-Id": "canary",
    "Nats-Schedule": "@every 1s",
    "Nats-Schedule-Target": "canary",
    "Nats-Batch-Id": "canary",
    "Nats-Batch-Commit": "1",
    "Nats-Trace-Dest": "canary",
    "Nats-Marker-Reason": "Purge",
    "Nats-Stream": "canary",
    "Status": "503",
}
OURS = {
    "Chatmesh-Wire": "99",
    "Chatmesh-Erase": "canary",
    "Chatmesh-New": "canary",
    "Chatmesh-Reason": "canary",
    "Chatmesh-Sent-At": "canary",
}
OTHERS = {"traceparent": "canary", "tracestate": "canary=1", "baggage": "canary=1", "X-Canary": "canary"}
HOSTILE = NATS | OURS | OTHERS

NEVER = {name.lower() for name in HOSTILE} - {
    "nats-msg-id",
    "nats-ttl",
    "nats-expected-last-subject-sequence",
    "chatmesh-new",
    "chatmesh-wire",
    "chatmesh-sent-at",
    "traceparent",
}
"""What no message of an answer has of its own accord."""

READING = [
    Door("GET", "/v1/sessions/s/messages"),
    Door("GET", "/v1/sessions"),
    Door("GET", "/v1/models"),
    Door("POST", "/api/chat/s/stop"),
    TICKET,
    SHARE,
]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def said_everywhere(mesh: Mesh, headers: Headers) -> list[Answer]:
    answers = [await ask(mesh, door.request(headers)) for door in [*SAYING.values(), *READING]]
    assert [answer.status for answer in answers] == [202] + [200] * (len(answers) - 1)
    return answers


async def test_no_header_of_a_client_is_one_on_nats(mesh: Mesh, nats_client: Client) -> None:
    async with everything(nats_client) as watch:
        await said_everywhere(mesh, HOSTILE)
    seen = [(message.subject, message.headers or {}) for message in watch.messages]
    assert any(".transcript." in subject for subject, _ in seen), "answers were watched too"
    for subject, headers in seen:
        if subject.startswith(("chat.", "$JS.API.")):
            assert not {name.lower() for name in headers} & NEVER, subject
            assert "canary" not in str(headers).lower(), subject
            assert headers.get("Nats-TTL") != "1s", subject
            assert headers.get("Chatmesh-Wire", "1") == "1", subject
    # Nothing was rolled up, expired or scheduled: each door's own request and answer are there.
    for name in await sessions(nats_client):
        assert await stored.records(nats_client, name), name


async def sessions(client: Client) -> set[str]:
    cards = await stored.stored(client, "CHAT_SESSIONS", "chat.card.*")
    found = {card.subject.rpartition(".")[2] for card in cards}
    assert len(found) == 3, "the native one and Vercel's are one session"
    return found


async def test_trace_of_a_client_goes_on_where_it_is_one_and_nothing_behind_it(
    mesh: Mesh, nats_client: Client
) -> None:
    async with everything(nats_client) as watch:
        await said_everywhere(mesh, {"traceparent": TRACE, "tracestate": "canary=1"})
        await said_everywhere(mesh, {"traceparent": TRACE + "-canary"})
    traces = [
        (message.headers or {})["traceparent"]
        for message in watch.messages
        if message.subject.startswith("chat.workflow.execute.") and not message.reply.startswith("$JS.ACK.")
    ]
    assert len(traces) == 2 * len(SAYING)
    assert traces.count(TRACE) == len(SAYING)
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", each) for each in traces)


async def test_nothing_that_a_client_sends_is_a_header_of_its_answer(mesh: Mesh) -> None:
    """But its own request id, where that is one."""
    for door in SAYING.values():
        for sent in (b"canary\tcanary", b"canary canary", b"canary\xff", b"canary" * 50):
            answer = await ask(mesh, door.request(HOSTILE | {"X-Request-Id": sent}))
            assert b"canary" not in answer.head.lower(), (door.path, sent)
        answer = await ask(mesh, door.request({"X-Request-Id": b"mine"}))
        assert b"\r\nx-request-id: mine\r\n" in answer.head.lower() + b"\r\n", door.path
