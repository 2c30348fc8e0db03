"""Three real nats-servers that replicate JetStream, any of which the test may break."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StorageType

from tests.support.broker import Broker, Login, jetstream_block
from tests.support.ports import free_port
from tests.support.raw_client import connect
from tests.support.waiting import eventually

# An election takes up to about 5 s, and a new follower some more; two busy cores may double it.
_ELECTION_SECONDS = 30.0


class Cluster:
    """Servers on loopback with one route between each two. It is ready after 2 to 4 s.

    Its end is the test's: use the fixture `cluster`, or call `stop()` in a `finally`.
    """

    def __init__(self, brokers: list[Broker]) -> None:
        self.brokers = brokers

    @classmethod
    async def start(cls, directory: Path, *, size: int = 3, config_extra: str = "") -> Self:
        """Return when the cluster stores a stream with as many replicas as it has servers."""
        ports, routes = _distinct_ports(size), _distinct_ports(size)
        brokers = [
            Broker(
                directory,
                port,
                jetstream_block(directory / f"nats-{port}") + _cluster_block(route, routes) + config_extra,
                Login(),
            )
            for port, route in zip(ports, routes, strict=True)
        ]
        cluster = cls(brokers)
        try:
            async with asyncio.TaskGroup() as starts:
                for broker in brokers:
                    starts.create_task(broker.launch())
            await cluster.wait_ready()
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @property
    def urls(self) -> list[str]:
        """All servers, for `nats.connect(servers=…)`."""
        return [broker.url for broker in self.brokers]

    async def connect(self, **options: Any) -> Client:
        """A raw nats-py client of any server that runs, which the caller closes."""
        urls = [broker.url for broker in self.brokers if broker.is_running]
        return await connect(urls, **{"connect_timeout": 5, "max_reconnect_attempts": 3, **options})

    async def leader_of(self, stream: str) -> Broker:
        """The server that leads `stream` now; waits for an election that is under way."""
        client = await self.connect()
        try:
            leader: Broker = await eventually(
                lambda: self._ask_leader(client, stream),
                timeout=_ELECTION_SECONDS,
                message=f"a leader of stream {stream}",
            )
            return leader
        finally:
            await client.close()

    async def wait_ready(self) -> None:
        """Wait until a stream on every server can be made and written: routes, leader and followers all work."""
        client = await self.connect()
        try:
            await eventually(
                lambda: self._store_something(client), timeout=_ELECTION_SECONDS, message="a working cluster"
            )
        finally:
            await client.close()

    def stop(self) -> None:
        """End and reap every server. Idempotent."""
        for broker in self.brokers:
            broker.stop()

    async def _ask_leader(self, client: Client, stream: str) -> Broker | None:
        try:
            info = await client.jetstream(timeout=1.0).stream_info(stream)
        except (NatsError, TimeoutError) as error:
            raise AssertionError(repr(error)) from error
        name = info.cluster.leader if info.cluster else None
        running = (broker for broker in self.brokers if broker.is_running)
        return next((broker for broker in running if broker.name == name), None)

    async def _store_something(self, client: Client) -> bool:
        js = client.jetstream(timeout=2.0)
        name = "TEST_READY"
        try:
            await js.add_stream(
                name=name, subjects=[name], num_replicas=len(self.brokers), storage=StorageType.MEMORY
            )
            await js.publish(name, b"?")
            await js.delete_stream(name)
        except (NatsError, TimeoutError) as error:
            raise AssertionError(repr(error)) from error
        return True


def _distinct_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


def _cluster_block(own: int, routes: list[int]) -> str:
    others = ", ".join(f"nats://127.0.0.1:{port}" for port in routes if port != own)
    return f"cluster {{ name: test, listen: 127.0.0.1:{own}, routes: [{others}], pool_size: -1 }}\n"
