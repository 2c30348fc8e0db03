"""Stored messages of a stream, page by page, and what time it is at the broker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from chatmesh.broker import Broker, Stored

PAGE_MESSAGES = 256
READ_SECONDS = 10.0
"""Of one page."""


async def walk(
    broker: Broker, stream: str, subject: str, *, seq: int = 1, limit: int | None = None
) -> AsyncIterator[Stored]:
    """Messages on `subject` (wildcards allowed) from `seq` on, in the stream's order, at most `limit`. Raises BrokerError; the
    stream has to be there (`require`)."""
    left, more = limit, True
    while more and left != 0:
        page = await broker.direct_get.page(stream, subject, seq=seq, limit=_size(left), seconds=READ_SECONDS)
        for stored in page.messages:
            yield stored
            seq = stored.seq + 1
        left = None if left is None else left - len(page.messages)
        more = page.more


def broker_time(info: dict[str, Any]) -> float:
    """Unix seconds by the broker's clock, from JetStream's answer to a question; by ours where it does not say."""
    return datetime.fromisoformat(info["ts"]).timestamp() if "ts" in info else time.time()


def _size(left: int | None) -> int:
    return PAGE_MESSAGES if left is None else min(left, PAGE_MESSAGES)
