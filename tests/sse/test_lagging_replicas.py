"""A reader of one message, and a server that is behind: what others were shown already is in no page yet."""

from __future__ import annotations

from typing import Any

import pytest

from chatmesh.broker import Records, Transcript
from chatmesh.broker.homes import Homes
from tests.support import models
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.reading import events, post


async def test_reader_of_one_message_gets_what_was_shown_before_the_server_that_it_reads_from_had_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One broker that answers once as a follower does which is some milliseconds behind."""
    read, lags = Transcript.page, [1]

    async def page(self: Transcript, *args: Any, seq: int, **more: Any) -> Records:
        return (
            Records([], seq, more=False) if lags and lags.pop() else await read(self, *args, seq=seq, **more)
        )

    async with (
        pod_and_client(broker.url, "p", models.models("silent"), role="all") as (_, client),
        events(client, "s") as stream,
    ):
        await post(client, "s", message_id="m1", model="silent")
        await stream.read(1)
        monkeypatch.setattr(Homes, "is_replicated", True)
        monkeypatch.setattr(Transcript, "page", page)
        async with events(client, "s", message_id="m1") as one:
            reading = await one.read(1)
        await client.delete("/v1/sessions/s/messages/m1")
        await stream.read_finals()
    assert not lags
    assert reading.text == "hm "
