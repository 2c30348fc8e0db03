"""Sessions by the part that they are put into, and what lies in which stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import NotFoundError, ServiceUnavailableError

from chatmesh.broker.streams import transcript_name
from chatmesh.protocol.partitions import proposed
from chatmesh.protocol.tokens import Token
from tests.support.stored import LEADER_SECONDS
from tests.support.waiting import eventually

FOUR = "streams.partitions=4"

SLOW = {"model": "count", "max_tokens": 60, "tokens_per_second": 30}


def names(part: int, partitions: int = 4) -> Iterator[Token]:
    """Ids of sessions that a mesh of so many parts puts into that one."""
    ids = (Token(f"s{number}") for number in itertools.count())
    return (name for name in ids if proposed(name, partitions) == part)


def one(part: int, partitions: int = 4) -> Token:
    return next(names(part, partitions))


async def parts_of(client: Client, session_id: str, partitions: int = 4) -> set[int]:
    """Where anything of the session lies. A part whose leader has died answers nobody, or that it can't, until another one is
    elected."""
    return {part for part in range(partitions) if await _has_any(client, transcript_name(part), session_id)}


async def _has_any(client: Client, stream: str, session_id: str) -> bool:
    answers: list[bool] = []

    async def has_answered() -> bool:
        try:
            answers.append(await _find(client, stream, session_id))
        except (NatsTimeoutError, ServiceUnavailableError) as error:
            raise AssertionError(repr(error)) from error
        return True

    await eventually(has_answered, timeout=LEADER_SECONDS, message=f"a leader of {stream}")
    return answers[-1]


async def _find(client: Client, stream: str, session_id: str) -> bool:
    try:
        await client.jetstream().get_last_msg(stream, f"chat.session.{session_id}.>")
    except NotFoundError:
        return False
    return True
