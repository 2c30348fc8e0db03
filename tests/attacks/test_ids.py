"""Ids at every door: one that is no token is refused, or becomes one of ours; never a part of a subject.

`*` and `>` would read other people's messages, `a.b` would land in another stream, and a control character would be stored
and then break everybody who reads it.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Any
from urllib.parse import quote_from_bytes

from nats.aio.client import Client
from nats.aio.msg import Msg

from chatmesh.app import Mesh
from tests.attacks.wire import (
    CHAT,
    NATIVE,
    PARTS,
    RESPONSES,
    SAYING,
    SHARE,
    VERCEL,
    Answer,
    Door,
    ask,
    everything,
)
from tests.support.watching import Watch

PRINTABLE = [b"*", b">", b"a.b", b"a.*", b".", b"..", b"$JS", b"a b", b"%2A", b"a:b", b"-" * 129, b"x" * 5000]
CONTROLS = [b"a\tb", b"a\x0bb", b"a\x0cb", b"a\x00b", b"a\x1bb", b"a\x7fb", b"a\rb", b"a\nb", b"a\r\nb"]
FOREIGN = [b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbc\x8a"]
HOSTILE = [*PRINTABLE, *CONTROLS, *FOREIGN]

PATHS = [
    Door("POST", "/v1/sessions/{}/messages", NATIVE.body),
    Door("GET", "/v1/sessions/{}/messages"),
    Door("DELETE", "/v1/sessions/{}"),
    Door("GET", "/v1/sessions/{}/messages/m"),
    Door("GET", "/v1/sessions/s/messages/{}"),
    Door("DELETE", "/v1/sessions/{}/messages/m"),
    Door("DELETE", "/v1/sessions/s/messages/{}"),
    Door("GET", "/v1/sessions/{}/events"),
    Door("GET", "/v1/sessions/{}/events?ticket=x"),
    Door("GET", "/v1/sessions/s/events?message_id={}"),
    Door("POST", "/v1/sessions/{}/ticket"),
    Door("POST", "/v1/sessions/{}/share", SHARE.body),
    Door("GET", "/api/chat/{}/stream"),
    Door("POST", "/api/chat/{}/stop"),
    Door("GET", "/v1/responses/{}"),
    Door("GET", "/v1/responses/resp_1_{}_m"),
    Door("GET", "/v1/responses/resp_1_s_{}?stream=true"),
    Door("POST", "/v1/responses/resp_1_{}_m/cancel"),
    Door("GET", "/v1/models/{}"),
]

SUBJECT = re.compile(r"(chat|\$JS|\$KV|_INBOX)(\.~?[A-Za-z0-9_$-]{1,128})+")


def told(watch: Watch) -> list[Msg]:
    """What was said about chats, or asked of them."""
    return [message for message in watch.messages if message.subject.startswith(("chat.", "$JS.API.DIRECT"))]


def is_refused(answer: Answer) -> bool:
    """422 in the words of the door, 404 where the id is made of two, 400 where it is no HTTP."""
    return answer.status in (400, 404, 422)


def with_field(door: Door, place: str, value: str) -> Door:
    """`place` with dots."""
    first, *rest = place.split(".")
    inner: Any = value
    for name in reversed(rest):
        inner = {name: inner}
    return Door(door.method, door.path, door.body | {first: inner})


async def test_id_in_an_address_that_is_none_is_refused_and_never_reaches_nats(
    mesh: Mesh, nats_client: Client
) -> None:
    async with everything(nats_client) as watch:
        for door, hostile in product(PATHS, HOSTILE):
            path = door.path.replace("{}", quote_from_bytes(hostile, safe="")).encode()
            answer = await ask(mesh, door.request(path=path))
            assert is_refused(answer), (door, hostile, answer)
        for door, hostile in product(
            PATHS[:1], HOSTILE
        ):  # as no client would send it: that is no HTTP, or no id
            answer = await ask(mesh, door.request(path=door.path.encode().replace(b"{}", hostile)))
            assert is_refused(answer), (door, hostile, answer)
    # Whose the session `s` is was asked before the message's id was looked at: nothing else.
    assert {message.subject for message in told(watch)} <= {"$JS.API.DIRECT.GET.CHAT_SESSIONS"}
    assert {message.data for message in told(watch)} <= {b'{"last_by_subj":"chat.card.s"}'}


NAMED = [(CHAT, "X-Session-Id"), (CHAT, "X-OpenWebUI-Chat-Id"), (RESPONSES, "X-Session-Id")]


async def test_session_in_a_header_that_is_none_is_refused_and_never_reaches_nats(
    mesh: Mesh, nats_client: Client
) -> None:
    async with everything(nats_client) as watch:
        for (door, header), hostile in product(NAMED, HOSTILE):
            if b"\n" in hostile or b"\r" in hostile:
                continue  # ends the header: the rest is another one, below
            answer = await ask(mesh, door.request({header: hostile}))
            is_no_http = hostile in CONTROLS and hostile != b"a\tb"
            wanted = (400, "bad_http") if is_no_http else (422, "invalid_id")
            assert (answer.status, answer.code) == wanted, (door, hostile)
    assert told(watch) == []


FIELDS = [
    (NATIVE, "message_id"),
    (CHAT, "metadata.session_id"),
    (RESPONSES, "metadata.session_id"),
    (RESPONSES, "previous_response_id"),
    (VERCEL, "id"),
]


async def test_id_in_a_body_that_is_none_is_refused_and_never_reaches_nats(
    mesh: Mesh, nats_client: Client
) -> None:
    async with everything(nats_client) as watch:
        for (door, place), hostile in product(FIELDS, HOSTILE):
            text = hostile.decode(errors="replace")
            for written in {text, f"resp_{len(text)}_{text}_m"} if "response" in place else {text}:
                answer = await ask(mesh, with_field(door, place, written).request())
                assert is_refused(answer), (door, place, written, answer)
    assert told(watch) == []


TAKEN: list[tuple[Door, str]] = [
    (NATIVE, "Idempotency-Key"),
    (RESPONSES, "Idempotency-Key"),
    *((door, "X-Request-Id") for door in SAYING.values()),
    (CHAT, "X-OpenWebUI-User-Id"),
    (VERCEL, "message"),
    (VERCEL, "messageId"),
    (NATIVE, "correlation_id"),
    (NATIVE, "user_id"),
    (CHAT, "user"),
    (RESPONSES, "user"),
]
"""What a client may call as it likes: it is made into one of ours, or stays in the body."""


async def test_what_clients_may_call_as_they_like_is_never_a_part_of_a_subject(
    mesh: Mesh, nats_client: Client
) -> None:
    async with everything(nats_client) as watch:
        for (door, place), hostile in product(TAKEN, [b"*", b">", b"a.b", b"$JS", b"a b", b"\xff"]):
            text = hostile.decode(errors="replace")
            if place[0].isupper():
                request = door.request({place: hostile})
            elif place == "message":
                request = Door(
                    door.method, door.path, door.body | {"message": PARTS | {"id": text}}
                ).request()
            else:
                request = with_field(door, place, text).request()
            answer = await ask(mesh, request)
            assert answer.status in (200, 202), (door, place, hostile, answer)
    assert len({message.subject for message in told(watch)}) > len(TAKEN)
    assert {message.subject for message in watch.messages if not SUBJECT.fullmatch(message.subject)} == set()


async def test_header_that_ends_another_one_is_only_a_header(mesh: Mesh, nats_client: Client) -> None:
    """CR LF in a value is the next header, for the pod as for everybody in front of it, and no id goes on behind it."""
    async with everything(nats_client) as watch:
        answer = await ask(mesh, CHAT.request({"X-Session-Id": b"mine\r\nNats-Rollup: all"}))
        assert answer.status == 200
        for folded in (b"mine\r\n >", b"mine\n.>", b"mine\r.>"):
            assert (await ask(mesh, CHAT.request({"X-Session-Id": folded}))).code == "bad_http"
    assert {message.subject for message in watch.messages if ".execute." in message.subject} == {
        "chat.workflow.execute.mine"
    }
    assert not any("Nats-Rollup" in (message.headers or {}) for message in watch.messages)
