"""A raw subscription that keeps what it saw: the wire as anybody else's program sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg


class Watch:
    """Messages in the order in which they came. `on_message` is called with each as it comes: to strike just then."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self.on_message: Callable[[], object] | None = None

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.messages]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """Every chunk, in a batch or alone."""
        return [chunk for body in self.bodies for chunk in body.get("chunks", [body])]

    @property
    def has_final(self) -> bool:
        return any(chunk["is_final"] for chunk in self.chunks)


@asynccontextmanager
async def watching(client: Client, subject: str) -> AsyncIterator[Watch]:
    """Watches `subject` (wildcards allowed) from now on; on return of entering, the server knows of it."""
    watch = Watch()

    async def keep(message: Msg) -> None:
        watch.messages.append(message)
        if watch.on_message is not None:
            watch.on_message()

    subscription = await client.subscribe(subject, cb=keep)
    await client.flush()
    try:
        yield watch
    finally:
        await subscription.unsubscribe()
