"""One attempt to answer: the provider's deltas become chunks in a lane, up to the final one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from chatmesh.errors import ProviderError
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.providers import Delta, Prompt, Provider, Resume
from chatmesh.telemetry import get_logger
from chatmesh.workflow.ports import LanePort

log = get_logger("workflow")


async def generate(
    provider: Provider, prompt: Prompt, resume: Resume, lane: LanePort, encoder: ChunkEncoder
) -> str:
    """Runs the provider into the lane and ends it with exactly one final chunk. Returns the finish reason.

    A provider's failure is an answer too (an error-final). What the lane raises goes through: another worker has the
    session, or the broker stayed away.
    """
    is_first = True
    deltas = cast("AsyncGenerator[Delta, None]", provider.generate(prompt, resume))
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                now = time.time()
                if delta.finish_reason is not None:
                    lane.write_final(encoder.final(delta.finish_reason, now, text=delta.text))
                    return delta.finish_reason
                for chunk in encoder.content(delta.text, now):
                    lane.write(chunk, urgent=is_first)
                if is_first:
                    # A provider that never waits would keep the batcher from sending the first chunk at once.
                    is_first = False
                    await asyncio.sleep(0)
                elif not lane.has_room:
                    await lane.wait_room()
        raise ProviderError("the model's answer ended without saying why", code="provider_incomplete")
    except ProviderError as error:
        lane.write_final(encoder.failure(error.code, error.what, time.time()))
        log.warning(
            "workflow.provider_failed",
            session_id=lane.session_id,
            message_id=lane.message_id,
            code=error.code,
        )
        return "error"
