"""Fixtures for every test: a fresh broker, a raw client of it, and proof that async tests leave nothing behind."""

from __future__ import annotations

import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from nats.aio.client import Client
from structlog.testing import capture_logs

from tests.support.broker import Broker
from tests.support.cluster import Cluster
from tests.support.leaks import nothing_is_left
from tests.support.live import live
from tests.support.processes import Process

pytest_plugins = ["pytester"]

# A machine that runs other tests too may stand still in the midst of an example, which says nothing of the example.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored, and so would be what the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What the imports have made stays anyway: without this each check for leaks would walk through all of it, which took
    longer than the average test."""
    gc.collect()
    gc.freeze()


__all__ = ["live", "nothing_is_left"]


@pytest.fixture(autouse=True)
def check_leaks(request: pytest.FixtureRequest) -> None:
    """Async tests only: set up before, so torn down after, every other fixture of the test."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("nothing_is_left")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A nats-server of this test alone, with JetStream and no password."""
    broker = await Broker.start(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
async def nats_client(broker: Broker) -> AsyncIterator[Client]:
    """A raw nats-py client of `broker`. It reconnects fast and for ever, so that a test may restart the broker."""
    client = await broker.connect(reconnect_time_wait=0.05, max_reconnect_attempts=-1)
    yield client
    await client.close()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three nats-servers of this test alone which replicate JetStream; ready after a few seconds."""
    cluster = await Cluster.start(tmp_path)
    yield cluster
    cluster.stop()


@pytest.fixture
def chatmesh(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts `chatmesh ARGUMENTS…` in the test's directory as often as it is called; kills and reaps them all."""
    begun: list[Process] = []

    def start(*arguments: str, env: dict[str, str] | None = None) -> Process:
        begun.append(Process(*arguments, directory=tmp_path, name=f"chatmesh-{len(begun) + 1}", env=env))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()


@pytest.fixture
def patient_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers wait for the registry as long as a busy machine needs: else they would broadcast, as they should."""
    monkeypatch.setattr("chatmesh.relay.router.REGISTRY_SECONDS", 10.0)


_configure = structlog.configure


def _configure_without_cache(*arguments: Any, **options: Any) -> None:
    _configure(*arguments, **options | {"cache_logger_on_first_use": False})


# A command that a test runs in this process configures logs for good, and loggers would keep what it said: the next test's
# lines would be filtered by it.
structlog.configure = _configure_without_cache


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """Every log line of this process."""
    structlog.reset_defaults()
    _configure_without_cache()
    with capture_logs() as lines:
        yield lines
