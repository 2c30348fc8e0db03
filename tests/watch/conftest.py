"""Commands that watch, against the test's broker."""

from __future__ import annotations

import pytest

from tests.chat.conftest import terminal
from tests.operate.support import Start
from tests.support.broker import Broker
from tests.watch.support import Command

__all__ = ["terminal"]


@pytest.fixture
def command(chatmesh: Start, broker: Broker) -> Command:
    return Command(chatmesh, broker.url)
