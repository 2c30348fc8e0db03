"""Sessions by the part that they are put into, and what lies in which stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from chatmesh.broker.streams import transcript_name
from chatmesh.protocol.partitions import proposed
from chatmesh.protocol.tokens import Token

FOUR = "streams.partitions=4"
SLOW = {"model": "count", "max_tokens": 60, "tokens_per_second": 30}


def names(part: int, partitions: int = 4) -> Iterator[Token]:
    """Ids of sessions that a mesh of so many parts puts into that one."""
    ids = (Token(f"s{number}") for number in itertools.count())
    return (name for name in ids if proposed(name, partitions) == part)


def one(part: int, partitions: int = 4) -> Token:
    return next(names(part, partitions))


async def parts_of(client: Client, session_id: str, partitions: int = 4) -> set[int]:
    """Where anything of the session lies."""
    found = set()
    for part in range(partitions):
        try:
            await client.jetstream().get_last_msg(transcript_name(part), f"chat.session.{session_id}.>")
            found.add(part)
        except NotFoundError:
            continue
    return found
