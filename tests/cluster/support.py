"""A mesh on three servers."""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from tests.support.cluster import Cluster
from tests.support.stored import api
from tests.support.waiting import eventually

REPLICAS = "streams.replicas=3"

ELECTION_SECONDS = 60.0
"""A deadline: an election takes about 5 s on idle cores."""


def servers(cluster: Cluster) -> str:
    """All of them, as `nats.servers` takes them."""
    return ",".join(cluster.urls)


async def consumer_leader(client: Client, stream: str, consumer: str) -> str:
    """The name of the server that leads the consumer."""
    info = await api(client, f"CONSUMER.INFO.{stream}.{consumer}")
    return str(info["cluster"]["leader"])


async def wait_replicated(client: Client, *streams: str) -> None:
    """Until every stream has a leader and followers that have all it has."""

    async def is_current(stream: str) -> bool:
        try:
            info: dict[str, Any] = json.loads(
                (await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=1)).data
            )
        except NatsError:
            return False
        cluster = info.get("cluster", {})
        replicas = cluster.get("replicas", [])
        return bool(cluster.get("leader")) and all(
            replica["current"] and not replica.get("offline") for replica in replicas
        )

    for stream in streams:
        await eventually(
            lambda stream=stream: is_current(stream),
            timeout=ELECTION_SECONDS,
            message=f"current replicas of {stream}",
        )
