"""JSON made to break somebody further on, at every door: refused as a whole, in the door's own words, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.attacks.wire import CHAT, NATIVE, RESPONSES, SHARE, VERCEL, Door, ask, everything

HOSTILE = {
    "deep lists": b"[" * 33 + b"]" * 33,
    "deeper lists": b"[" * 254 + b"]" * 254,
    "lists as deep as a parser goes": b"[" * 1100 + b"]" * 1100,
    "endless lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "an integer past 64 bits": b"18446744073709551616",
    "a negative integer past 64 bits": b"-9223372036854775809",
    "an integer without an end": b"9" * 5000,
    "a number past a double": b"1e999",
    "not a number": b"NaN",
    "a lone surrogate": b'"\\ud800"',
    "the second half of a pair": b'"\\udc00 "',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "an overlong slash": b'"\xc0\xaf"',
    "a raw control character": b'"\x0b"',
    "a raw line end": b'"a\nb"',
    "a key that is there twice": b'{"a": 1, "\\u0061": 2}',
}

PLACES: dict[str, tuple[Door, str]] = {
    "native, in the context": (NATIVE, "context.more"),
    "native, where nobody looks": (NATIVE, "more"),
    "chat completions": (CHAT, "more"),
    "chat completions, in a tool": (CHAT, "tools.parameters"),
    "responses": (RESPONSES, "more"),
    "responses, in a schema": (RESPONSES, "text.format.schema"),
    "vercel": (VERCEL, "more"),
    "vercel, in the context": (VERCEL, "context.more"),
    "a shared link": (SHARE, "more"),
}


def with_value(door: Door, place: str, value: bytes) -> bytes:
    """The door's body with those very bytes at the place."""
    body: dict[str, Any] = json.loads(json.dumps(door.body))
    *above, last = place.split(".")
    inner = body
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = "<here>"
    return json.dumps(body).encode().replace(b'"<here>"', value)


async def test_json_that_breaks_others_is_refused_at_every_door(mesh: Mesh, nats_client: Client) -> None:
    await ask(mesh, NATIVE.request({"Accept": "text/event-stream"}))  # so that there is something to share
    async with everything(nats_client) as watch:
        for name, (door, place) in PLACES.items():
            for what, value in HOSTILE.items():
                answer = await ask(mesh, door.request(body=with_value(door, place, value)))
                assert answer.status == 400, (name, what, answer)
                assert answer.code == (None if door is VERCEL else "not_json"), (name, what)
    # What a worker says of itself, now and then, is no part of it.
    said = {message.subject for message in watch.messages if message.subject.startswith("chat.")}
    assert not {subject for subject in said if not subject.endswith((".heartbeat", ".leases"))}


async def test_largest_and_deepest_values_that_are_taken_reach_the_model_and_the_history(mesh: Mesh) -> None:
    """What passes can be written again by everything that it goes through."""
    for value in (b"18446744073709551615", b"-9223372036854775808", b"1e308", b"[" * 29 + b"]" * 29):
        for door in (NATIVE, VERCEL):
            answer = await ask(mesh, door.request(body=with_value(door, "context.more", value)))
            assert answer.status in (200, 202), (door.path, value, answer)
    said = b'"\\ud83d\\ude00 \\u0000 \\u2028"'
    answer = await ask(mesh, CHAT.request(body=with_value(CHAT, "user", said)))
    assert answer.status == 200
    answer = await ask(
        mesh, NATIVE.request({"Accept": "text/event-stream"}, body=with_value(NATIVE, "message", said))
    )
    text = "".join(
        json.loads(line.removeprefix(b"data: ")).get("chunk", "")
        for line in answer.body.split(b"\n")
        if line.startswith(b"data: ")
    )
    assert text == "\U0001f600 \x00 \u2028"
