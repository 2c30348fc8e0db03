"""Everything that a mesh says on NATS is what docs/asyncapi.yaml says of it: subject, body and headers."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from nats.aio.client import Client

from tests.auth.support import asking, bearer, say, token
from tests.foreign.peers import request
from tests.protocol.wire_schemas import DOCUMENT, body_faults, faults
from tests.support.broker import Broker
from tests.support.reading import Stream, events
from tests.support.waiting import eventually
from tests.support.watching import watching

COMPLETION = {"model": "echo", "messages": [{"role": "user", "content": "a"}]}


@pytest.mark.slow
async def test_every_message_of_a_mesh_is_on_a_channel_of_the_document_and_fits_it(
    broker: Broker, nats_client: Client
) -> None:
    """One mesh that does all that it can: answers inline, to readers and to nobody, stops, erases, and more."""
    async with watching(nats_client, "chat.>") as wire, asking(broker.url, id="p") as (_, client):
        await say(client, "alice")
        me = bearer(token("alice"))
        ticket = (await client.post("/v1/sessions/s/ticket", headers=me)).json()["ticket"]
        async with events(client, "s", ticket=ticket) as stream:
            await _stop_one(client, stream)
        assert (await client.post("/v1/chat/completions", json=COMPLETION, headers=me)).status_code == 200
        accepted = await client.post("/v1/sessions/nobody-reads/messages", json={"message": "a"}, headers=me)
        assert accepted.status_code == 202
        assert (await client.delete("/v1/sessions/s", headers=me)).status_code == 202
        await nats_client.publish("chat.workflow.execute.other", json.dumps(request("s2")).encode())
        for role in ("pod", "worker"):
            answer = await nats_client.request(f"chat.{role}.p.health", b"", timeout=5)
            assert body_faults(f"{role.capitalize()}Health", json.loads(answer.data)) == []

        def seen() -> dict[str, set[str]]:
            found: dict[str, set[str]] = defaultdict(set)
            for message in wire.messages:
                if message.subject != "chat.workflow.execute.other":
                    channel, body, wrong = faults(message.subject, message.data, message.headers or {})
                    assert wrong == [], f"{message.subject}: {message.headers} {message.data!r:.300}"
                    found[channel].add(body)
            return found

        told = {name for name, channel in DOCUMENT["channels"].items() if channel["address"] is not None}
        told -= {"homes"}  # of a transcript in parts: tests/parts
        await eventually(lambda: set(seen()) == told, timeout=20)
        await eventually(lambda: "Erased" in seen()["transcript"], timeout=20)
        found = seen()
    assert found["responses"] == {"LiveRecord"}
    assert found["cards"] == {"Card", "Nothing"}


async def _stop_one(client: Any, stream: Stream) -> None:
    me = bearer(token("alice"))
    body = {"message_id": "long", "message": "count", "context": {"model": "count", "tokens_per_second": 20}}
    assert (await client.post("/v1/sessions/s/messages", json=body, headers=me)).status_code == 202
    await stream.read(2)
    assert (await client.delete("/v1/sessions/s/messages/long", headers=me)).status_code == 202
    await stream.read_finals()
