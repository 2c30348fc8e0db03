"""The seed's "Batching": every 50 ms or 100 chunks, whichever is first; the first chunk and the final one don't wait.

What is asserted is the grouping on the wire, never a time.
"""

from __future__ import annotations

import pytest
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import Watch, watching

pytestmark = pytest.mark.usefixtures("patient_registry")


async def answer(
    broker: Broker, nats_client: Client, *settings: str, message: str = "go", **body: object
) -> Watch:
    """The batches of one answer as they were on the wire."""
    async with (
        pod_and_client(broker.url, "pod-1", *settings, role="all") as (_, client),
        watching(nats_client, "chat.pod.pod-1.response") as watch,
        events(client, "s") as stream,
    ):
        await eventually(lambda: stored.stored(nats_client, "CHAT_REGISTRY", "chat.registry.s.pod-1"))
        await post(client, "s", message, **body)
        reading = await stream.read_finals()
        await eventually(lambda: watch.has_final)
        in_transcript = [record.body["chunks"] for record in await stored.records(nats_client, "s")]
    assert watch.chunks == reading.chunks
    assert [body["chunks"] for body in watch.bodies] == in_transcript, "what is shown is what is stored"
    return watch


async def test_unlimited_answer_leaves_in_batches_of_at_most_100_chunks(
    broker: Broker, nats_client: Client
) -> None:
    watch = await answer(broker, nats_client, model="count", max_tokens=1000)
    sizes = [len(body["chunks"]) for body in watch.bodies]
    assert sum(sizes) == 1001
    assert max(sizes) == 100
    assert len(sizes) <= 13, f"chunks did not leave together: {sizes}"


async def test_paced_answer_leaves_several_chunks_at_a_time(broker: Broker, nats_client: Client) -> None:
    """200 a second, 50 ms: about ten in each batch, and never one by one."""
    watch = await answer(broker, nats_client, model="count", max_tokens=200, tokens_per_second=200)
    sizes = [len(body["chunks"]) for body in watch.bodies]
    assert len(sizes) < 100, f"chunks did not wait for each other: {sizes}"
    assert max(sizes[1:-1]) > 1


async def test_first_chunk_and_final_one_do_not_wait_for_others(broker: Broker, nats_client: Client) -> None:
    """A minute's wait for company: only chunks that must not wait leave at all, and take along what was there."""
    watch = await answer(
        broker, nats_client, "batch.flush_ms=60000", model="count", max_tokens=20, tokens_per_second=200
    )
    first, *others = [[chunk["chunk_id"] for chunk in body["chunks"]] for body in watch.bodies]
    assert first == [0]
    assert others == [list(range(1, 21))]


@pytest.mark.parametrize("most", [1, 7])
async def test_size_of_a_batch_is_the_configured_one(broker: Broker, nats_client: Client, most: int) -> None:
    watch = await answer(broker, nats_client, f"batch.max_chunks={most}", model="count", max_tokens=50)
    assert max(len(body["chunks"]) for body in watch.bodies) == most


async def test_no_batch_passes_the_brokers_max_payload(tmp_path: object) -> None:
    small = await Broker.start(tmp_path, config_extra="max_payload: 8192\n")  # type: ignore[arg-type]
    raw = await small.connect()
    try:
        words = " ".join(f"{'w' * 60}{number}" for number in range(60))
        watch = await answer(small, raw, message=words, model="echo")
    finally:
        await raw.close()
        small.stop()
    assert "".join(chunk["chunk"] for chunk in watch.chunks) == words
    assert len(watch.messages) > 1
    assert all(len(message.data) <= 8192 for message in watch.messages)
