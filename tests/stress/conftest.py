"""A broker that tells who is connected and what they subscribe to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.stress.support import Monitor
from tests.support.broker import Broker
from tests.support.ports import free_port


@pytest.fixture
def monitor_port() -> int:
    return free_port()


@pytest.fixture
async def broker(tmp_path: Path, monitor_port: int) -> AsyncIterator[Broker]:
    """As everywhere, with HTTP monitoring."""
    broker = await Broker.start(tmp_path, config_extra=f'http: "127.0.0.1:{monitor_port}"\n')
    yield broker
    broker.stop()


@pytest.fixture
async def monitor(broker: Broker, monitor_port: int) -> AsyncIterator[Monitor]:
    async with httpx.AsyncClient() as client:
        yield Monitor(monitor_port, client)
