"""A pod leaves: its readers are told, wave after wave, and come back to another pod."""

from __future__ import annotations

import asyncio
from itertools import islice

from chatmesh.hub.hub import Hub
from chatmesh.hub.waves import PAUSE_SECONDS, waves
from chatmesh.telemetry import get_logger

log = get_logger("hub")


async def leave(hub: Hub, seconds: float) -> None:
    """Returns when everybody has been told, within `seconds`. Who has not had a turn yet is served as before; who comes
    now, because a message was accepted before, is sent away with the opening."""
    readers = list(hub.readers)
    hub.is_leaving = True
    sizes = waves(len(readers), seconds)
    log.info("hub.leaving", readers=len(readers), waves=len(sizes))
    rest = iter(readers)
    for number, size in enumerate(sizes):
        if number:
            await asyncio.sleep(PAUSE_SECONDS)
        for reader in islice(rest, size):
            reader.leave()
