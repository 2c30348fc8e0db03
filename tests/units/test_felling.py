"""A worker that is felled to be looked at: not so often that the process ends."""

from __future__ import annotations

import pytest

from chatmesh.app.felling import Feller, feller
from chatmesh.config import load
from chatmesh.errors import CapacityError


def test_twice_a_minute_and_no_more() -> None:
    now = 0.0
    felling = Feller(clock=lambda: now)
    felling.fell()
    now = 30.0
    felling.fell()
    now = 59.0
    with pytest.raises(CapacityError, match="2 times within 60 seconds"):
        felling.fell()
    now = 60.0
    felling.fell()
    now = 89.0
    with pytest.raises(CapacityError):
        felling.fell()


@pytest.mark.parametrize(
    ("role", "embedded", "workers", "is_there"),
    [
        ("all", "true", 1, True),
        ("all", "true", 2, False),
        ("all", "false", 1, False),
        ("pod", "true", 1, False),
        ("worker", "true", 1, False),
    ],
)
def test_only_beside_a_single_worker_in_development(
    role: str, embedded: str, workers: int, is_there: bool
) -> None:
    config = load(None, environ={}, overrides=[f"nats.embedded={embedded}"], role=role).config
    assert (feller(config, workers=workers) is not None) is is_there
