"""Tries what a role may do at the broker, so that nobody notices: what is refused by permissions, and what was tried.

A publish goes to a subject of nobody, with a condition that no stream fulfils, and asks for no answer; a subscription is
ended at once. The server handles in order: what it refuses is known when it has answered a ping. What can't be tried so
is left out (`permissions.UNTRIED`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chatmesh.broker import Broker, Denial
from chatmesh.errors import BrokerError
from chatmesh.operate.permissions import UNTRIED, Needs, filled
from chatmesh.protocol import headers

_NO_STREAM = {headers.EXPECTED_STREAM: "none-of-this-name"}
_OF_EACH_STREAM = {
    "$JS.API.STREAM.INFO.*": "$JS.API.STREAM.INFO.",
    "$JS.API.DIRECT.GET.*": "$JS.API.DIRECT.GET.",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One permission: an entry of an allow-list. `refused` are the subjects that the broker did not let pass."""

    verb: str
    entry: str
    refused: tuple[str, ...] = ()


async def try_needs(broker: Broker, needs: Needs, id: str) -> list[Tried]:
    """Each entry of `needs` that can be tried, for the user of this connection."""
    heard: set[tuple[str, str]] = set()
    broker.connection.on_denial(lambda denial: heard.add(_key(denial)))
    streams = [spec.name for spec in broker.streams.declared]
    api = broker.connection.jetstream_api
    attempts = [
        (verb, entry, filled(subject, id, api)) for verb, entry, subject in _attempts(needs, id, streams)
    ]
    for verb, _, subject in attempts:
        with suppress(BrokerError):
            await (_publish if verb == "publish" else _subscribe)(broker, subject)
    await broker.connection.flush()
    tried: dict[tuple[str, str], list[str]] = {}
    for verb, entry, subject in attempts:
        refused = tried.setdefault((verb, entry), [])
        if (verb, subject.lower()) in heard:
            refused.append(subject)
    return [Tried(verb, entry, tuple(refused)) for (verb, entry), refused in tried.items()]


def _attempts(needs: Needs, id: str, streams: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Verb, entry, and a subject of that entry."""
    nobody = f"doctor_{secrets.token_hex(6)}"
    for entry in needs.publish:
        if entry in UNTRIED:
            continue
        own = entry.replace("{id}", id)
        if entry in _OF_EACH_STREAM:
            yield from (("publish", own, _OF_EACH_STREAM[entry] + stream) for stream in streams)
        else:
            yield "publish", own, own.replace("*", nobody)
    for entry in needs.subscribe:
        own = entry.replace("{id}", id)
        yield "subscribe", own, own


def _key(denial: Denial) -> tuple[str, str]:
    return denial.verb, denial.subject.lower()


async def _publish(broker: Broker, subject: str) -> None:
    conditions = None if subject.startswith("$") else dict(_NO_STREAM)
    broker.connection.publish(subject, b"", headers=conditions)


async def _subscribe(broker: Broker, subject: str) -> None:
    inbox = await broker.connection.subscribe(subject, capacity=1, tap=lambda _message: None)
    await broker.connection.unsubscribe(inbox)
