"""Traces of processes that are killed, that have no collector, or no extra."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.errors import Exit
from tests.faults.support import arguments, assert_exact, holder, start_pod, start_worker
from tests.support.broker import Broker
from tests.support.collector import Collector, collecting
from tests.support.processes import Process, free_port
from tests.support.reading import events, post

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"
NEVER_TAKEN = "tracing.endpoint=http://127.0.0.1:{}/v1/traces"

WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None  # how Python is told that there is no such module
from chatmesh.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.mark.slow
@pytest.mark.parametrize("is_frozen", [False, True], ids=["killed", "frozen"])
async def test_answer_whose_worker_is_lost_has_both_attempts_in_one_trace(
    chatmesh: Callable[..., Process],
    broker: Broker,
    nats_client: Client,
    collector: Collector,
    is_frozen: bool,
) -> None:
    endpoint = f"tracing.endpoint={collector.url}"
    workers = {id: await start_worker(chatmesh, nats_client, broker.url, id, endpoint) for id in ("w1", "w2")}
    pod = await start_pod(chatmesh, broker.url, "p", endpoint)
    body = {
        "message": "go",
        "message_id": "m1",
        "context": {"model": "count", "max_tokens": 60, "tokens_per_second": 20},
    }
    async with pod.client() as http, events(http, "s") as reader:
        await http.post("/v1/sessions/s/messages", json=body, headers={"traceparent": GIVEN})
        await reader.read(5)
        gone = await holder(nats_client, "s")
        if is_frozen:
            workers[gone].pause()
        else:
            workers[gone].kill()
        reading = await reader.read_finals()
        await collector.wait("accepted", "attempt", "attempt", "delivered", timeout=30)
    if is_frozen:
        # It finds out, and has nothing to tell of an attempt that was told of, but for what it asked its model.
        workers[gone].resume()
        await collector.wait("provider", "provider", timeout=30)
        await workers[gone].terminate()
    assert_exact(reading, 60)
    lost, good = collector.named("attempt")
    assert {span.trace_id for span in collector.spans} == {TRACE}
    assert lost.parent_id == good.parent_id == collector.one("accepted").id
    assert (lost.attributes["worker_id"], lost.attributes["attempt"]) == (gone, 1)
    assert (lost.attributes["outcome"], lost.error) == ("lost", "lost")
    assert good.attributes["worker_id"] in set(workers) - {gone}
    assert (good.attributes["outcome"], good.attributes["attempt"]) == ("done", 2)
    assert collector.one("accepted").began // 10**6 <= lost.began // 10**6
    assert lost.ended <= good.began
    # The pod saw it begin under the first attempt.
    assert collector.one("delivered").parent_id == lost.id
    asked = {span.parent_id for span in collector.named("provider")}
    assert asked == ({lost.id, good.id} if is_frozen else {good.id})


@pytest.mark.slow
async def test_worker_that_leaves_hands_its_trace_over(
    chatmesh: Callable[..., Process], broker: Broker, nats_client: Client, collector: Collector
) -> None:
    settings = (f"tracing.endpoint={collector.url}", "worker.drain_seconds=0")
    workers = {
        id: await start_worker(chatmesh, nats_client, broker.url, id, *settings) for id in ("w1", "w2")
    }
    pod = await start_pod(chatmesh, broker.url, "p", settings[0])
    body = {
        "message": "go",
        "context": {"model": "count", "max_tokens": 20, "tokens_per_second": 4},
    }
    async with pod.client() as http, events(http, "s") as reader:
        await http.post("/v1/sessions/s/messages", json=body, headers={"traceparent": GIVEN})
        await reader.read(5)
        left = await holder(nats_client, "s")
        workers[left].signal(signal.SIGTERM)
        assert_exact(await reader.read_finals(), 20)
        await collector.wait("queued", "attempt", "attempt", "delivered")
    first, second = collector.named("attempt")
    assert (first.attributes["worker_id"], first.attributes["outcome"]) == (left, "handed_over")
    assert second.attributes["outcome"] == "done"
    assert first.attributes["attempt"] == second.attributes["attempt"] == 1
    assert first.id != second.id
    assert not first.is_error
    assert len(collector.named("queued")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_silent", [False, True], ids=["away", "silent"])
async def test_collector_that_is_away_or_silent_costs_neither_answer_nor_drain(
    chatmesh: Callable[..., Process], broker: Broker, is_silent: bool
) -> None:
    async with silence() as port:
        endpoint = NEVER_TAKEN.format(port if is_silent else free_port())
        process = chatmesh(*arguments(broker.url, "all", "all", endpoint))
        line = await process.wait_for_line('"event": "web.listening"', stream="stderr")
        async with (
            httpx.AsyncClient(base_url=json.loads(line.string)["url"]) as http,
            events(http, "s") as reader,
        ):
            await post(http, "s", model="count", max_tokens=5)
            assert_exact(await reader.read_finals(), 5)
        if not is_silent:
            await process.wait_for_line(r'"event": "telemetry\.spans_not_taken"', stream="stderr")
        assert await process.terminate(timeout=20) == 0
    # One that is silent is given up after five seconds, or when the process has ended.
    assert re.search(r'"event": "telemetry\.spans_(left|not_taken)"', process.stderr)
    assert "Traceback" not in process.stderr


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """The port of a server that takes whatever comes, and never answers."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def test_without_the_extra_an_endpoint_is_refused_at_the_start(tmp_path: Path) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", WITHOUT_THE_EXTRA, "run", "--set", NEVER_TAKEN.format(1)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == Exit.USAGE
    for said in ("opentelemetry", "tracing.endpoint", "chatmesh-server[otel]"):
        assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_an_endpoint_nothing_of_the_extra_is_imported(tmp_path: Path) -> None:
    program = """
import json, sys
from chatmesh.app import Mesh
from chatmesh.config import load
mesh = Mesh(load(None, environ={}, overrides=[]).config)
print(json.dumps([sorted(name for name in sys.modules if "opentelemetry" in name), mesh.process.tracing.is_on]))
"""
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(said.stdout) == [[], False]
