"""The broker's `max_payload`: one byte past it, and it cuts the connection. Nothing of ours ever is."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from tests.faults.support import ACK_WAIT, dead_letters, wait_queue_empty
from tests.hostile.support import claim, encode, request
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.reading import Reading, events, post
from tests.support.stored import records
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

KIB = 1024
SMALL, DEFAULT = 32 * KIB, 1024 * KIB


@pytest.fixture(params=[SMALL])
def max_payload(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
async def broker(tmp_path: Path, max_payload: int) -> AsyncIterator[Broker]:
    broker = await Broker.start(tmp_path, config_extra=f"max_payload: {max_payload}\n")
    yield broker
    broker.stop()


@pytest.fixture
async def http(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a mesh whose connection is not lost in this test."""
    before = _lost()
    settings = (ACK_WAIT, "http.max_body_bytes=8388608")
    async with pod_and_client(broker.url, "p", *settings, role="all") as (_, client):
        yield client
        assert _lost() == before, "the broker cut the connection"


def words(length: int) -> str:
    return "".join(f"{number:099} " for number in range(length // 100 + 1))[:length]


TEXTS: dict[str, Callable[[int], str]] = {
    "one word": lambda length: "x" * length,
    "many words": words,
    "control characters, six bytes each": lambda length: "\x01" * (length // 6) + "x" * (length % 6),
    "quotes, two bytes each": lambda length: '"' * (length // 2) + "x" * (length % 2),
    "backslashes, two bytes each": lambda length: "\\" * (length // 2) + "x" * (length % 2),
    "half plain, half escaped": lambda length: "x" * (length // 2) + "\x01" * (length // 12),
    "emoji, four bytes each": lambda length: "\U0001f600" * (length // 4) + "x" * (length % 4),
}


@pytest.mark.parametrize(
    "max_payload", [SMALL, 64 * KIB, pytest.param(DEFAULT, marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_message_at_the_limit_is_answered_and_one_byte_more_is_413(
    http: httpx.AsyncClient, max_payload: int, text: Callable[[int], str]
) -> None:
    most = await _most(http, text, max_payload)
    refused = await post(http, "0", text(most + 1), model="echo")
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    for session_id, length in (("1", most), ("2", most - 1)):
        async with events(http, session_id) as stream:
            assert (await post(http, session_id, text(length), model="echo")).status_code == 202
            reading = await stream.read_finals()
        assert reading.text.rstrip() == text(length).rstrip()
        assert reading.ids == list(range(len(reading.ids)))
        assert reading.finals[0]["metadata"]["finish_reason"] == "stop"


async def test_no_record_passes_the_limit(
    http: httpx.AsyncClient, nats_client: Client, max_payload: int
) -> None:
    most = await _most(http, TEXTS["many words"], max_payload)
    async with events(http, "s") as stream:
        await post(http, "s", words(most), model="echo")
        await stream.read_finals()
    assert max(len(record.data) for record in await records(nats_client, "s")) <= max_payload - 512


async def test_message_with_a_huge_context_at_the_limit_is_answered(
    http: httpx.AsyncClient, max_payload: int
) -> None:
    def body(length: int) -> dict[str, Any]:
        return {"message": "one two", "context": {"model": "echo", "system_prompt": "x" * length}}

    refused = await http.post("/v1/sessions/s/messages", json=body(max_payload))
    most = max_payload - _excess(refused)
    assert (await http.post("/v1/sessions/s/messages", json=body(most + 1))).status_code == 413
    async with events(http, "s") as stream:
        assert (await http.post("/v1/sessions/s/messages", json=body(most))).status_code == 202
        assert (await stream.read_finals()).text.split() == ["one", "two"]


async def test_request_at_the_limit_that_killed_its_workers_becomes_a_dead_letter(
    http: httpx.AsyncClient, nats_client: Client, max_payload: int
) -> None:
    """Somebody else's, as large as the broker takes: with a reason beside it, its copy has to be cut."""
    js = nats_client.jetstream(timeout=5)
    await js.publish("chat.session.s.claim", encode(claim("s", "m", attempt=5)))
    body = encode(request("s", "m", message="x" * (max_payload - len(encode(request("s", "m", message=""))))))
    assert len(body) == max_payload
    async with events(http, "s", message_id="m") as stream:
        await nats_client.publish("chat.workflow.execute.s", body)
        (final,) = (await stream.read_finals()).finals
    assert final["error"]["code"] == "attempts_exhausted"
    await wait_queue_empty(nats_client)
    (letter,) = await dead_letters(nats_client)
    assert body.startswith(letter.data)
    assert len(letter.data) > 0.9 * len(body)


async def test_limit_that_is_lowered_and_raised_at_a_running_server_wedges_nothing(
    tmp_path: Path, logs: list[Any]
) -> None:
    """A client learns of it only by being cut off: by the INFO of its next connection."""
    broker = await Broker.start(tmp_path, config_extra=f"max_payload: {64 * KIB}\n")
    try:
        async with pod_and_client(broker.url, "p", ACK_WAIT, role="all") as (mesh, http):
            assert await _echoed(http, "before", "x" * 40_000)
            await broker.reload(f"max_payload: {SMALL}\n")
            async with events(http, "small") as stream:
                assert (await post(http, "small", words(200), model="echo")).status_code == 202
                assert (await stream.read_finals()).text.rstrip() == words(200).rstrip()
            refused = await post(http, "large", "x" * 40_000, model="echo")
            assert refused.status_code in {413, 503, 504}

            async def is_told() -> bool:
                return (await post(http, "large", "x" * 40_000, model="echo")).status_code == 413

            await eventually(is_told, timeout=30)
            await eventually(lambda: mesh.is_ready)
            assert await _echoed(http, "again", "x" * 20_000)
            await broker.reload(f"max_payload: {64 * KIB}\n")
            assert await _echoed(http, "small again", "x" * 20_000)
    finally:
        broker.stop()
    assert not [line for line in logs if line["event"] in {"kernel.crashed", "kernel.gave_up"}]


async def _echoed(http: httpx.AsyncClient, session_id: str, text: str) -> bool:
    session_id = session_id.replace(" ", "-")
    async with events(http, session_id) as stream:
        assert (await post(http, session_id, text, model="echo")).status_code == 202
        reading: Reading = await stream.read_finals()
    return reading.text.rstrip() == text


async def _most(http: httpx.AsyncClient, text: Callable[[int], str], max_payload: int) -> int:
    """The longest text of the kind that is taken, by what a refusal says."""
    refused = await post(http, "s", text(max_payload), model="echo")
    assert refused.status_code == 413, refused.text
    room = len(_as_sent(text(max_payload))) - _excess(refused)
    lengths = range(max_payload)
    return bisect_right(lengths, room, key=lambda length: len(_as_sent(text(length)))) - 1


def _as_sent(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def _excess(refused: httpx.Response) -> int:
    """Bytes too many."""
    size, most = map(int, re.findall(r"takes (\d+)", refused.json()["detail"]))
    return size - most


def _lost() -> float:
    names = ("chatmesh_broker_rebuilds_total", "chatmesh_broker_disconnects_total")
    return sum(REGISTRY.get_sample_value(name) or 0.0 for name in names)
