"""A server as `chatmesh natsconf` configures it, with its streams made by the user who may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.natsconf.support import Guarded
from tests.support.processes import Process


@pytest.fixture
async def guarded(tmp_path: Path, chatmesh: Callable[..., Process]) -> AsyncIterator[Guarded]:
    """Two pods and two workers have users there; none of them runs."""
    guarded = await Guarded.start(tmp_path / "nats", chatmesh)
    yield guarded
    guarded.broker.stop()
