"""A pod that asks who is calling, with a worker beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatmesh.app import Mesh
from tests.auth.support import asking
from tests.support.broker import Broker


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with asking(broker.url, "heartbeat.interval_seconds=600", id="p") as (mesh, _):
        yield mesh
