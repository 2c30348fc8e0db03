"""Every provider that asks a server, one after the other."""

from __future__ import annotations

import pytest

from chatmesh.kernel.restarts import Backoff
from chatmesh.providers import upstream
from tests.providers.dialects import DIALECTS, Dialect


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon."""
    monkeypatch.setattr(upstream, "BACKOFF", Backoff(first_seconds=0.001, max_seconds=0.01))
