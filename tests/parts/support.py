"""Sessions by the part that they are put into, and what lies in which stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import NotFoundError

from chatmesh.broker.streams import transcript_name
from chatmesh.protocol.partitions import proposed
from chatmesh.protocol.tokens import Token

FOUR = "streams.partitions=4"
ELECTION_TRIES = 6
"""Of five seconds each."""

SLOW = {"model": "count", "max_tokens": 60, "tokens_per_second": 30}


def names(part: int, partitions: int = 4) -> Iterator[Token]:
    """Ids of sessions that a mesh of so many parts puts into that one."""
    ids = (Token(f"s{number}") for number in itertools.count())
    return (name for name in ids if proposed(name, partitions) == part)


def one(part: int, partitions: int = 4) -> Token:
    return next(names(part, partitions))


async def parts_of(client: Client, session_id: str, partitions: int = 4) -> set[int]:
    """Where anything of the session lies. A part whose leader has died answers nobody until another one is elected."""
    return {part for part in range(partitions) if await _has_any(client, transcript_name(part), session_id)}


async def _has_any(client: Client, stream: str, session_id: str) -> bool:
    for _ in range(ELECTION_TRIES - 1):
        with suppress(NatsTimeoutError):  # nobody leads it yet; the last try, below, raises
            return await _find(client, stream, session_id)
    return await _find(client, stream, session_id)


async def _find(client: Client, stream: str, session_id: str) -> bool:
    try:
        await client.jetstream().get_last_msg(stream, f"chat.session.{session_id}.>")
    except NotFoundError:
        return False
    return True
