"""The first line that a NATS server says to everybody who connects: INFO and a JSON object."""

from __future__ import annotations

import asyncio
import json


async def read_server_name(port: int, *, timeout_seconds: float) -> str | None:
    """The `server_name` of the NATS server on 127.0.0.1:`port`; None if nobody or somebody else answers in time."""
    writer = None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            line = await reader.readline()
    except (OSError, TimeoutError, ValueError):  # ValueError: a line longer than the reader's limit of 64 kB
        return None
    finally:
        if writer is not None:
            writer.transport.abort()
    return parse_server_name(line)


def parse_server_name(line: bytes) -> str | None:
    """The `server_name` in an INFO line; None if it is no INFO line."""
    if not line.startswith(b"INFO "):
        return None
    try:
        info = json.loads(line[5:])
    except ValueError:
        return None
    name = info.get("server_name") if isinstance(info, dict) else None
    return name if isinstance(name, str) else None
