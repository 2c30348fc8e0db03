"""A pod that asks who is calling, with a worker beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatmesh.app import Mesh
from chatmesh.hub import lookout
from chatmesh.workflow import overdue
from tests.auth.support import asking, bearer, token
from tests.support.broker import Broker
from tests.support.mesh import models_known


@pytest.fixture
async def mesh(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    """It asks NATS for nothing of its own accord, as pods do every ten seconds, and workers."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(overdue, "LOOKS", 0.01)
    async with asking(broker.url, "heartbeat.interval_seconds=600", id="p") as (mesh, http):
        await models_known(http, bearer(token("alice")))
        yield mesh
