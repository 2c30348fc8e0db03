"""What a worker writes down of its leases is for others to free, and no page can make them publish anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.protocol.tokens import Token
from tests.faults.support import wait_queue_empty
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import gate, models
from tests.support.reading import events, post
from tests.support.stored import stored
from tests.support.waiting import eventually

DEAD = Token("dead")
ACK = "$JS.ACK.WORKFLOW_REQUESTS.workflow-processor.1.1.1.1700000000000000000.0"
DOMAIN_ACK = "$JS.ACK.hub.ACCHASH.WORKFLOW_REQUESTS.workflow-processor.1.1.1.1700000000000000000.0.x"


async def write(client: Client, page: Any) -> None:
    """As if the dead worker had."""
    body = page if isinstance(page, bytes) else json.dumps(page).encode()
    await client.jetstream().publish(f"chat.worker.{DEAD}.leases", body)


@pytest.mark.parametrize(
    ("page", "freed"),
    [
        pytest.param({"boot": "b1", "leases": [ACK, DOMAIN_ACK]}, 2, id="a page"),
        pytest.param({"boot": "b2", "leases": [ACK]}, 0, id="of another life"),
        pytest.param({"boot": "b1", "leases": []}, 0, id="an empty one"),
        pytest.param(
            {
                "boot": "b1",
                "leases": ["chat.session.s.claim", "$JS.API.STREAM.DELETE.X", "$JS.ACK.X.y.1.1.1.1.0", 7],
            },
            0,
            id="subjects that are no acks of ours",
        ),
        pytest.param({"boot": 7, "leases": [ACK]}, 0, id="a boot that is none"),
        pytest.param({"leases": ACK}, 0, id="no list"),
        pytest.param([], 0, id="no object"),
        pytest.param(b"\xff", 0, id="no JSON"),
    ],
)
async def test_only_leases_of_that_life_are_given_back(
    broker: Broker, nats_client: Client, page: Any, freed: int
) -> None:
    async with running(broker.url, role="pod") as mesh:
        heard = await nats_client.subscribe("$JS.>")
        await nats_client.flush()
        await write(nats_client, page)
        assert await mesh.broker.lease_book.free(DEAD, lambda boot: boot == "b1") == freed
        await mesh.broker.connection.flush()
        naks = [message.subject for message in await _pending(heard) if message.data == b"-NAK"]
        assert len(naks) == freed


async def test_worker_without_a_page_holds_nothing(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh:
        assert await mesh.broker.lease_book.free(DEAD, lambda boot: True) == 0


async def test_page_says_what_is_held_and_is_empty_afterwards(broker: Broker, nats_client: Client) -> None:
    async with (
        running(broker.url, models("held"), role="worker", id="w"),
        running(broker.url, role="pod") as pod,
    ):
        await _answer(pod, nats_client)


async def _answer(pod: Mesh, client: Client) -> None:
    async def page() -> list[str]:
        pages = await stored(client, "CHAT_PRESENCE", "chat.worker.w.leases")
        leases: list[str] = pages[-1].body["leases"] if pages else []
        return leases

    async def has(count: int) -> bool:
        return len(await page()) == count

    async with client_of(pod) as http, events(http, "s") as stream:
        go_on = gate()
        await post(http, "s", model="held")
        await post(http, "s", model="count", max_tokens=1)
        await stream.read(5)
        await eventually(lambda: has(2), message="the answer and the one behind it in the book")
        assert all(
            subject.startswith("$JS.ACK.WORKFLOW_REQUESTS.workflow-processor.") for subject in await page()
        )
        go_on.set()
        await stream.read_finals(2)
        await eventually(lambda: has(0), message="an empty book")
    await wait_queue_empty(client)


async def _pending(subscription: Any) -> list[Any]:
    """What has been heard so far."""
    await subscription._conn.flush()
    return [await subscription.next_msg(timeout=1) for _ in range(subscription.pending_msgs)]
