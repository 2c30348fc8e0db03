"""Three servers, any of which may die: an answer goes on, each chunk once, the model asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker import CONSUMER, REQUESTS
from chatmesh.broker.streams import TRANSCRIPT
from tests.cluster.support import REPLICAS, consumer_leader, servers, wait_replicated
from tests.faults.support import assert_exact, assert_stored_exactly, claims, read_on, wait_queue_empty
from tests.support.cluster import Cluster
from tests.support.mesh import client_of, is_ready, running
from tests.support.reading import Reading, events, post
from tests.support.stored import api
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

TOKENS = 300
COUNT: dict[str, Any] = {"model": "count", "max_tokens": TOKENS, "tokens_per_second": 50}
"""Six seconds: longer than an election."""


async def test_whole_path_works_on_three_servers(
    cluster: Cluster, http: httpx.AsyncClient, worker: Mesh, client: Client
) -> None:
    quick = {"model": "count", "max_tokens": 30, "tokens_per_second": 50}
    async with (
        running(servers(cluster), REPLICAS, role="pod", id="second") as second,
        client_of(second) as elsewhere,
    ):
        reading = Reading()
        async with events(http, "s", reading=reading) as stream:
            assert (await post(http, "s", **quick)).status_code == 202
            await stream.read(10)
        assert_exact(await read_on(elsewhere, "s", reading), 30)
        stopped = await post(elsewhere, "s", model="count", max_tokens=1000, tokens_per_second=20)
        async with events(http, "s", message_id=stopped.json()["message_id"]) as stream:
            await stream.read(3)
            assert (await http.delete(stopped.headers["Location"])).status_code == 202
            final = (await stream.read_finals()).finals[0]
        assert final["metadata"]["finish_reason"] == "cancelled"
        await eventually(lambda: _are(elsewhere, ["done", "stopped"]))
        assert (await http.delete("/v1/sessions/s")).status_code == 202
        await wait_queue_empty(client)
        await eventually(lambda: _is_unknown(elsewhere))


async def _are(http: httpx.AsyncClient, statuses: list[str]) -> bool:
    """The answers in the history, which may be a moment old: a follower may be asked."""
    rows = (await http.get("/v1/sessions/s/messages")).json()["messages"]
    assert [row["status"] for row in rows if row["role"] == "assistant"] == statuses
    return True


async def _is_unknown(http: httpx.AsyncClient) -> bool:
    return (await http.get("/v1/sessions/s/messages")).status_code == 404


async def _kill_transcript_leader(cluster: Cluster, client: Client) -> None:
    (await cluster.leader_of(TRANSCRIPT)).kill()


async def _kill_requests_leader(cluster: Cluster, client: Client) -> None:
    (await cluster.leader_of(REQUESTS)).kill()


async def _kill_consumer_leader(cluster: Cluster, client: Client) -> None:
    name = await consumer_leader(client, REQUESTS, CONSUMER)
    next(server for server in cluster.brokers if server.name == name).kill()


async def _step_down(cluster: Cluster, client: Client) -> None:
    for stream in (TRANSCRIPT, REQUESTS):
        await api(client, f"STREAM.LEADER.STEPDOWN.{stream}")
    await api(client, f"CONSUMER.LEADER.STEPDOWN.{REQUESTS}.{CONSUMER}")


@pytest.mark.parametrize(
    "strike",
    [_kill_transcript_leader, _kill_requests_leader, _kill_consumer_leader, _step_down],
    ids=["transcript's leader", "requests' leader", "consumer's leader", "step-down"],
)
async def test_answer_goes_on_and_no_post_lies_when_a_leader_goes(
    cluster: Cluster,
    http: httpx.AsyncClient,
    worker: Mesh,
    client: Client,
    strike: Callable[[Cluster, Client], Awaitable[None]],
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        await strike(cluster, client)
        posts = asyncio.create_task(_talk(http, 12))
        reading = await stream.read_finals()
        outcomes = await posts
    assert_exact(reading, TOKENS)
    await _assert_no_lie(http, outcomes)
    await wait_queue_empty(client)
    await assert_stored_exactly(client, "s", TOKENS)
    assert len(await claims(client, "s", message_id)) == 1


async def test_without_a_majority_nothing_is_accepted_and_readers_stay_until_it_is_back(
    cluster: Cluster, http: httpx.AsyncClient, worker: Mesh, client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        lost = cluster.brokers[:2]
        for server in lost:
            server.kill()
        outcomes = await _talk(http, 2)
        assert {status for status, _ in outcomes.values()} <= {503, 504}, outcomes
        for server in lost:
            await server.launch()
        reading = await stream.read_finals()
    assert_exact(reading, TOKENS)
    await wait_replicated(client, REQUESTS, TRANSCRIPT)
    await eventually(lambda: is_ready(http))
    await _assert_no_lie(http, outcomes)
    await wait_queue_empty(client)
    assert len(await claims(client, "s", message_id)) == 1
    assert_exact(await _answered(http, "after"), 5)


async def test_answer_goes_on_when_the_server_that_its_worker_is_connected_to_freezes(
    cluster: Cluster, http: httpx.AsyncClient, worker: Mesh, client: Client
) -> None:
    """The connection stays open and silent: two pings have to fail before it is given up. Another worker may take the
    answer over meanwhile, and lawfully: nobody can tell this one from a dead one, and it can store nothing."""
    frozen = next(server for server in cluster.brokers if str(server.port) in worker.broker.connection.server)
    async with events(http, "s") as stream:
        await post(http, "s", **COUNT)
        await stream.read(10)
        frozen.pause()
        reading = await stream.read_finals()
    frozen.resume()
    assert_exact(reading, TOKENS)
    await wait_replicated(client, REQUESTS, TRANSCRIPT)
    await wait_queue_empty(client)
    await assert_stored_exactly(client, "s", TOKENS)


async def _talk(http: httpx.AsyncClient, count: int) -> dict[str, tuple[int, str]]:
    """Posts to `count` sessions, one after the other, and what each was told."""
    outcomes = {}
    for number in range(count):
        answer = await post(http, f"t{number}", model="count", max_tokens=5)
        outcomes[f"t{number}"] = answer.status_code, answer.json().get("code", "")
    return outcomes


async def _assert_no_lie(http: httpx.AsyncClient, outcomes: dict[str, tuple[int, str]]) -> None:
    """Accepted (202): one answer. Not accepted (503): nothing. Unknown (504): one answer at most."""
    for session_id, (status, code) in outcomes.items():
        if status == 202:
            assert_exact(await read_on(http, session_id, Reading(), **{"from": "start"}), 5)
        elif status == 503:
            assert (await http.get(f"/v1/sessions/{session_id}/messages")).status_code == 404, code
        else:
            assert (status, code) == (504, "acceptance_unknown")


async def _answered(http: httpx.AsyncClient, session_id: str) -> Reading:
    assert (await post(http, session_id, model="count", max_tokens=5)).status_code == 202
    return await read_on(http, session_id, Reading(), **{"from": "start"})
