"""A raw nats-py client whose flush is one."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.client import Client


class RawClient(Client):
    """nats-py writes a flush's PING at once and leaves what was sent before in its buffer, until its own task writes that: the
    server may then answer before it knows of a subscription, and a busy one learns of it too late."""

    async def flush(self, *asked: Any, **more: Any) -> None:
        await asyncio.sleep(0)
        await super().flush(*asked, **more)


async def connect(servers: str | list[str], **options: Any) -> RawClient:
    """Connected, and the caller closes it."""
    client = RawClient()
    await client.connect(servers, **options)
    return client
