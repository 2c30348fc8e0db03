"""Free slots are asked for in few requests: the broker goes through each one that stands, at each message."""

from __future__ import annotations

from nats.aio.client import Client

from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.reading import post
from tests.support.waiting import eventually

ANSWERS = 150
FEW = 8
"""Each slot's own would be 64; halves of what is left are seven at most."""


async def test_few_requests_stand_at_the_broker_however_many_were_answered(
    broker: Broker, nats_client: Client
) -> None:
    async def state() -> tuple[int, int, int]:
        info = await nats_client.jetstream().consumer_info("WORKFLOW_REQUESTS", "workflow-processor")
        return info.num_waiting or 0, info.num_pending or 0, info.num_ack_pending or 0

    async with pod_and_client(broker.url, "a", "worker.concurrency=64", role="all") as (_, http):
        for number in range(ANSWERS):
            answer = await post(http, f"s{number % 50}", model="count", max_tokens=1)
            assert answer.status_code == 202

        async def is_answered() -> bool:
            waiting, *rest = await state()
            return rest == [0, 0] and 0 < waiting <= FEW

        await eventually(is_answered, message=f"all answered, and at most {FEW} requests standing")
