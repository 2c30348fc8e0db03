"""The embedded server as a part of the tree: up before the connection, down after it, back on its port after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatmesh.devbroker.server import EmbeddedServer
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service

STOP_SECONDS = 5.0


class EmbeddedBroker(Service):
    """Runs an `EmbeddedServer`. A server that ends unasked is a crash, with its last log lines in the error."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self._draining = asyncio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        try:
            await self.server.start()
            started()
            await self._wait()
        finally:
            await self.server.stop(STOP_SECONDS)

    def drain(self) -> None:
        self._draining.set()

    async def _wait(self) -> None:
        ended = asyncio.ensure_future(self.server.wait())
        drained = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({ended, drained}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not drained.done():
                lines = "\n".join(self.server.last_log_lines(5))
                raise BrokerError(f"the embedded nats-server ended with {ended.result()}:\n{lines}")
        finally:
            ended.cancel()
            drained.cancel()
