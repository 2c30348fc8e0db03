"""The seed's "Key Metrics", as Prometheus reads them from a real process, and its connection pooling."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from nats.aio.client import Client
from prometheus_client import REGISTRY

from tests.faults.support import Pod, arguments
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually


def lost() -> float:
    """Connections of this process that were lost so far."""
    return REGISTRY.get_sample_value("chatmesh_broker_disconnects_total") or 0.0


def samples(text: str, name: str) -> dict[str, float]:
    """Each sample of that name by its labels."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def quantile(text: str, subject: str, share: float) -> float:
    """What `histogram_quantile` would take for it: the bucket's upper bound."""
    buckets = [
        (float(re.findall(r'le="(.+?)"', labels)[0]), count)
        for labels, count in samples(text, "chatmesh_published_bytes_bucket").items()
        if f'subject="{subject}"' in labels
    ]
    total = max(count for _, count in buckets)
    return min(bound for bound, count in buckets if count >= share * total)


async def test_rate_size_lag_errors_and_subscriptions_are_measured(
    chatmesh: Callable[..., Process], broker: Broker, nats_client: Client
) -> None:
    process = chatmesh(*arguments(broker.url, "all", "me"))
    listening = await process.wait_for_line('"event": "web.listening"', stream="stderr")
    node = Pod(process, json.loads(listening.string)["url"])
    async with node.client() as client, events(client, "s") as stream:
        await eventually(lambda: stored.stored(nats_client, "CHAT_REGISTRY", "chat.registry.s.me"))
        before = (await client.get("/metrics")).text
        await post(client, "s", model="count", max_tokens=300)
        await stream.read_finals()
        await nats_client.publish("chat.workflow.execute.t", b"no json")
        text = (await client.get("/metrics")).text
    rate = samples(text, "chatmesh_published_bytes_count")
    # What was not acknowledged in time is sent again, and counted again.
    (again,) = samples(text, "chatmesh_publish_retries_total").values()
    assert 1 <= rate['subject="chat.workflow.execute.*"'] <= 1 + again
    sent = rate['subject="chat.pod.*.response"']
    assert sent >= 3
    assert sent <= rate['subject="chat.session.*.transcript.*"'] <= sent + again
    assert not [labels for labels in rate if '"s"' in labels or "me" in labels], "no id is a label"
    mean = samples(text, "chatmesh_published_bytes_sum")['subject="chat.pod.*.response"']
    mean /= rate['subject="chat.pod.*.response"']
    assert 200 < mean < quantile(text, "chat.pod.*.response", 0.99) <= 65536
    lags = samples(text, "chatmesh_delivery_lag_seconds_count")
    assert lags['subject="chat.pod.*.response"'] == rate['subject="chat.pod.*.response"']
    assert lags['subject="chat.workflow.execute.*"'] >= 1
    assert all(lag < 60 for lag in samples(text, "chatmesh_delivery_lag_seconds_sum").values())
    (subscriptions,) = samples(before, "chatmesh_broker_subscriptions").values()
    assert subscriptions >= 10


async def test_failed_publishes_and_subscriptions_that_end_are_counted(broker: Broker) -> None:
    async with (
        FaultProxy(broker.port) as proxy,
        running(proxy.url, id="me") as mesh,
        client_of(mesh) as client,
    ):
        calm = (await client.get("/metrics")).text
        inbox = await mesh.broker.connection.subscribe("x", capacity=1)
        more = (await client.get("/metrics")).text
        await mesh.broker.connection.unsubscribe(inbox)
        less = (await client.get("/metrics")).text
        counts = [samples(text, "chatmesh_broker_subscriptions")[""] for text in (calm, more, less)]
        assert counts[1] == counts[0] + 1
        assert counts[2] == counts[0]
        await proxy.refuse()
        proxy.cut()

        async def failed() -> bool:
            found = samples((await client.get("/metrics")).text, "chatmesh_errors_total")
            label = 'kind="send",room="broker"'
            return found.get(label, 0) > samples(calm, "chatmesh_errors_total").get(label, 0)

        await eventually(failed)
        await proxy.refuse(False)
        await eventually(lambda: mesh.is_ready)


async def test_process_has_one_connection_whatever_it_does(broker: Broker) -> None:
    """Pod and worker in one process, several readers and answers at once, before and after a cut."""
    async with (
        FaultProxy(broker.port) as proxy,
        running(proxy.url, id="me") as mesh,
        client_of(mesh) as client,
    ):
        before = lost()
        for cuts in (1, 2):
            for session in ("a", "b", "c"):
                await post(client, session, model="count", max_tokens=50)
            for session in ("a", "b", "c"):
                async with events(client, session, **{"from": "start"}) as stream:
                    await stream.read_finals()
                    assert proxy.connections == 1
            proxy.cut()
            await eventually(lambda cuts=cuts: lost() == before + cuts)
            await eventually(lambda: mesh.is_ready and proxy.connections == 1)
