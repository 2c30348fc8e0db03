"""A worker's memory while the broker takes nothing: the provider waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh.broker.streams import TRANSCRIPT
from tests.faults.support import start_worker
from tests.limits.filling import SMALL, fill_up
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.processes import Process
from tests.support.reading import events, post

MIB = 1024 * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from Linux's /proc")
async def test_worker_keeps_little_of_an_endless_answer_that_nobody_stores(
    broker: Broker, nats_client: Client, chatmesh: Callable[..., Process]
) -> None:
    """A million chunks are 300 MB; two batches of each answer may wait."""
    async with pod_and_client(broker.url, "pod", *SMALL, "worker.ack_wait_seconds=1") as (_, http):
        worker = await start_worker(chatmesh, nats_client, broker.url, "w", *SMALL)
        before = _resident_bytes(worker)
        async with events(http, "s0") as stream:
            for number in range(5):
                endless = {"model": "count", "max_tokens": 1_000_000}
                assert (await post(http, f"s{number}", **endless)).status_code == 202
            await stream.read(1)
            await fill_up(nats_client, TRANSCRIPT)
            with pytest.raises(TimeoutError):  # the time is the fault: so long nothing is stored
                async with asyncio.timeout(3.0):
                    await asyncio.Event().wait()
        assert _resident_bytes(worker) - before < 30 * MIB


def _resident_bytes(process: Process) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {process.pid} has no memory")
