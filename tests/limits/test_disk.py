"""The disk really full: JetStream answers nothing then, and chatmesh must not make a promise of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from chatmesh.broker.streams import REQUESTS, TRANSCRIPT
from tests.faults.support import ACK_WAIT, assert_exact, claims, read_on, wait_queue_empty
from tests.limits.disks import SmallDisk, small_disk
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        yield disk


@pytest.fixture
async def broker(tmp_path: Path, disk: SmallDisk) -> AsyncIterator[Broker]:
    """A server whose store lies on the small disk."""
    broker = await Broker.start(tmp_path, store_directory=disk.path)
    yield broker
    broker.stop()


@pytest.mark.chaos
async def test_nothing_is_promised_on_a_full_disk_and_all_that_was_is_kept_after_a_restart(
    broker: Broker, disk: SmallDisk, logs: list[Any]
) -> None:
    async with (
        pod_and_client(broker.url, "pod", ACK_WAIT, role="all") as (_, http),
        events(http, "s") as stream,
    ):
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        disk.fill()
        accepted, unknown = await _post_until_unknown(http)
        assert (await http.get(f"/v1/sessions/s/messages/{message_id}")).status_code == 200, "reads go on"
        assert await is_ready(http)
        for silent in (REQUESTS, TRANSCRIPT):
            await eventually(
                lambda silent=silent: _alarms(logs, silent) == 1, message=f"an alarm of {silent}"
            )
            assert _unanswered(silent) > 0
        disk.make_room()
        await broker.restart()
        assert_exact(await stream.read_finals(), 40)
        again = await eventually(lambda: _posted(http, unknown))
        assert again.json()["message_id"] == unknown
        for session_id in (*accepted, unknown):
            assert_exact(await read_on(http, session_id, Reading(), **{"from": "start"}), 3)
        client = await broker.connect()
        try:
            await wait_queue_empty(client)
            assert len(await claims(client, "s", message_id)) == 1
            assert len(await claims(client, unknown, unknown)) == 1
        finally:
            await client.close()
    assert [line["stream"] for line in logs if line["event"] == "broker.storing_again"]


async def _post_until_unknown(http: httpx.AsyncClient) -> tuple[list[str], str]:
    """Each message has its session's name. What a half filled page still takes is accepted, and no lie."""
    accepted: list[str] = []
    for number in range(200):
        name = f"m{number}"
        answer = await post(http, name, "x" * 500, model="count", max_tokens=3, message_id=name)
        if answer.status_code != 202:
            assert (answer.status_code, answer.json()["code"]) == (504, "acceptance_unknown")
            assert answer.json()["message_id"] == name
            return accepted, name
        accepted.append(name)
    raise AssertionError("a full disk took 200 messages")


async def _posted(http: httpx.AsyncClient, name: str) -> httpx.Response | None:
    answer = await post(http, name, "x" * 500, model="count", max_tokens=3, message_id=name)
    return answer if answer.status_code == 202 else None


def _alarms(logs: list[Any], stream: str) -> int:
    return sum(line["event"] == "broker.not_storing" and line["stream"] == stream for line in logs)


def _unanswered(stream: str) -> float:
    return REGISTRY.get_sample_value("chatmesh_publish_unanswered_total", {"stream": stream}) or 0.0
