"""A connection of the test's own to the broker of the run: looks, and makes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from chatmesh.broker import Address, Broker, StreamSettings
from chatmesh.kernel import Child, Service, SupervisionFailed, Supervisor, SystemClock, real_cause
from chatmesh.protocol.tokens import Token

_NAME = Token("chaos")
_NOTHING_DECLARED = StreamSettings(1, 0, 0, 0, 0, 0, 0, 0, 0)
"""The keeper of the streams does not run, so nobody reads this."""


@asynccontextmanager
async def observer(servers: Sequence[str]) -> AsyncIterator[Broker]:
    """A broker's parts while the context lasts, through every loss of the connection. Raises ChatmeshError where there
    is none to begin with."""
    address = Address(tuple(servers), _NAME, connect_seconds=30, reconnect_wait_seconds=0.5)
    broker = Broker(lambda: address, _NOTHING_DECLARED, ack_wait_seconds=1, pulls=False)
    children = [Child(name, _always(service)) for name, service in broker.services if name != "streams"]
    tree = Supervisor("observer", children, clock=SystemClock(), observe=lambda _event: None)
    up = asyncio.Event()
    running = asyncio.create_task(tree.run(up.set), name="observer")
    waiting = asyncio.create_task(up.wait(), name="observer up")
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        yield broker
    except SupervisionFailed as failure:
        raise real_cause(failure) from failure
    finally:
        waiting.cancel()
        tree.drain()
        await asyncio.wait({running, waiting})


def _always(service: Service) -> Callable[[], Service]:
    return lambda: service
