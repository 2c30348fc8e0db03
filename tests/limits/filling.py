"""Streams that fill up, and the room that comes."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client
from nats.js.errors import APIError

from chatmesh.broker.streams import DEAD_LETTERS, REQUESTS, TRANSCRIPT
from tests.support.stored import api, update_stream

MIB = 1024 * 1024

SMALL = (
    f"streams.requests_max_bytes={MIB}",
    f"streams.transcript_max_bytes={MIB}",
    f"streams.dead_letters_max_bytes={MIB}",
)
"""Settings of every process of a test that fills a stream."""

_IS_FULL = 10077
"""JetStream's error for `max_bytes`."""

_SUBJECTS = {
    REQUESTS: "chat.workflow.execute.filler",
    TRANSCRIPT: "chat.session.filler.transcript.m",
    DEAD_LETTERS: "chat.dead.filler",
}


async def fill(client: Client, stream: str, ratio: float) -> None:
    """Stores what nobody asked for, until the stream is at least so full. Others may fill it meanwhile."""
    while await fill_ratio(client, stream) < ratio:
        try:
            await client.jetstream(timeout=5).publish(_SUBJECTS[stream], bytes(4096))
        except APIError as error:
            if error.err_code != _IS_FULL:
                raise
            return


async def fill_up(client: Client, stream: str) -> None:
    """To the last byte: it takes nothing more."""
    await fill(client, stream, 0.99)
    info = await api(client, f"STREAM.INFO.{stream}")
    await update_stream(client, stream, max_bytes=info["state"]["bytes"])


async def make_room(client: Client, stream: str) -> None:
    """As an operator does."""
    await update_stream(client, stream, max_bytes=4 * MIB)


async def fill_ratio(client: Client, stream: str) -> float:
    info: dict[str, Any] = await api(client, f"STREAM.INFO.{stream}")
    return float(info["state"]["bytes"] / info["config"]["max_bytes"])
