"""`nats.max_reconnects`: how long a process that lost its broker goes on trying, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatmesh.broker import Address, Connection
from chatmesh.errors import BrokerLostError
from chatmesh.kernel import Unrepairable, real_cause
from tests.faults.support import StartProcess, arguments
from tests.support.broker import Broker
from tests.support.processes import Process
from tests.support.proxy import FaultProxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

REFUSED = 'ConnectionRefusedError.*"event": "broker.error"'


async def started(start: StartProcess, url: str, most: int, *settings: str, role: str = "all") -> Process:
    given = (f"nats.max_reconnects={most}", "nats.reconnect_wait_seconds=0.1", *settings)
    process = start(*arguments(url, role, "me", *given))
    await process.wait_for_line('"event": "app.ready"', stream="stderr")
    return process


@pytest.mark.parametrize(("role", "most"), [("all", 2), pytest.param("worker", 0, marks=pytest.mark.slow)])
async def test_process_whose_broker_stays_away_gives_up_after_so_many_tries_and_says_so(
    chatmesh: StartProcess, broker: Broker, role: str, most: int
) -> None:
    process = await started(chatmesh, broker.url, most, role=role)
    broker.kill()
    assert await process.wait(timeout=30) == 3
    last = process.stderr.splitlines()[-1]
    assert last.startswith("chatmesh: the connection to NATS was lost")
    assert broker.url in last
    assert "nats.max_reconnects: -1" in last
    assert process.stderr.count("ConnectionRefusedError") == most
    assert '"event": "kernel.restarting"' not in process.stderr, "giving up is the end, not a crash"
    assert "Traceback" not in process.stderr


async def test_process_that_tries_for_ever_is_there_when_the_broker_comes_back(
    chatmesh: StartProcess, broker: Broker
) -> None:
    process = await started(chatmesh, broker.url, -1, role="worker")
    broker.kill()
    for _ in range(10):
        await process.wait_for_line(REFUSED, stream="stderr")
    await broker.launch()
    await process.wait_for_line('"event": "broker.reconnected"', stream="stderr")
    assert await process.terminate(timeout=20) == 0


async def test_process_that_reconnects_in_time_counts_anew_at_the_next_loss(
    chatmesh: StartProcess, broker: Broker
) -> None:
    """Two failed tries in each of six losses, where ten in one would be the end."""
    async with FaultProxy(broker.port) as proxy:
        process = await started(chatmesh, proxy.url, 10, "nats.reconnect_wait_seconds=0.4", role="worker")
        for _ in range(6):
            await proxy.refuse()
            proxy.cut()
            for _ in range(2):
                await process.wait_for_line(REFUSED, stream="stderr")
            await proxy.refuse(False)
            await process.wait_for_line('"event": "broker.reconnected"', stream="stderr")
        assert process.stderr.count("ConnectionRefusedError") > 10
        await eventually(lambda: proxy.connections == 1)
        assert await process.terminate(timeout=20) == 0


async def test_credentials_that_changed_meanwhile_are_the_reason_that_is_given(
    chatmesh: StartProcess, tmp_path: Path
) -> None:
    broker = await Broker.start(tmp_path, user="ann", password="before")
    settings = ("nats.user=ann", "nats.password=before")
    try:
        # Enough of them for a broker that takes its time to come back.
        process = await started(chatmesh, broker.url, 40, *settings, role="worker")
        config = broker.config_file
        config.write_text(config.read_text().replace("before", "after"))
        await broker.restart()
        assert await process.wait(timeout=30) == 3
    finally:
        broker.stop()
    assert "Authorization Violation" in process.stderr.splitlines()[-1]


async def test_client_that_was_closed_for_good_is_made_anew_only_so_often(broker: Broker) -> None:
    """nats-py ends its client on some errors of the server's; its successors count too."""
    address = Address((broker.url,), "me", connect_seconds=0.2, max_reconnects=2, reconnect_wait_seconds=0.01)
    connection = Connection(lambda: address)
    up = asyncio.Event()
    run = asyncio.create_task(connection.run(up.set))
    await up.wait()
    assert connection._client is not None  # nobody else can close it under the connection
    broker.kill()
    await connection._client.close()
    with pytest.raises(Unrepairable) as end:
        await run
    assert isinstance(real_cause(end.value), BrokerLostError)
