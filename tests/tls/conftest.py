"""Brokers that speak TLS, with certificates of the test's own authority."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.certificates import Authority, Identity

NewBroker = Callable[..., Awaitable[Broker]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def new_broker(tmp_path: Path, authority: Authority) -> AsyncIterator[NewBroker]:
    """Starts a broker with TLS and with a password, or whatever else is said. `tls` are further lines of its block."""
    brokers: list[Broker] = []

    async def start(*tls: str, identity: Identity | None = None, more: str = "", **login: str) -> Broker:
        shown = identity or authority.sign("127.0.0.1", "localhost")
        lines = [f'cert_file: "{shown.cert_file}"', f'key_file: "{shown.key_file}"', "timeout: 5", *tls]
        block = "\n".join(["tls {", *lines, "}", more, ""])
        brokers.append(await Broker.start(tmp_path, config_extra=block, **login))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()
