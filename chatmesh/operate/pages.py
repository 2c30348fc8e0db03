"""Stored messages of a stream, page by page, and what time it is at the broker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from chatmesh.broker import Broker, Stored
from chatmesh.broker.direct_get import PAGE_BYTES

PAGE_MESSAGES = 256
READ_SECONDS = 10.0
"""Of one page."""


async def walk(
    broker: Broker,
    stream: str,
    subject: str,
    *,
    seq: int = 1,
    limit: int | None = None,
    max_bytes: int | None = None,
) -> AsyncIterator[Stored]:
    """Messages on `subject` (wildcards allowed) from `seq` on, in the stream's order: at most `limit`, and no further one where
    their bodies have reached `max_bytes`. Raises BrokerError; the stream has to be there (`require`)."""
    left, bytes_left, more = limit, max_bytes, True
    while more and left != 0 and (bytes_left is None or bytes_left > 0):
        page = await broker.direct_get.page(
            stream,
            subject,
            seq=seq,
            limit=_least(left, PAGE_MESSAGES),
            seconds=READ_SECONDS,
            max_bytes=_least(bytes_left, PAGE_BYTES),
        )
        for stored in page.messages:
            yield stored
            seq = stored.seq + 1
        left = None if left is None else left - len(page.messages)
        size = sum(len(stored.body) for stored in page.messages)
        bytes_left = None if bytes_left is None else bytes_left - size
        more = page.more


async def each_last(broker: Broker, wanted: Sequence[str]) -> list[Stored]:
    """The last message of the transcript on each of those subjects, in whichever part. Raises BrokerError."""
    found: list[Stored] = []
    for stream in broker.layout.streams:
        found += await broker.direct_get.each_last(stream, *wanted, seconds=READ_SECONDS)
    return found


def broker_time(info: dict[str, Any]) -> float:
    """Unix seconds by the broker's clock, from JetStream's answer to a question; by ours where it does not say."""
    return datetime.fromisoformat(info["ts"]).timestamp() if "ts" in info else time.time()


def _least(bound: int | None, other: int) -> int:
    return other if bound is None else min(bound, other)
