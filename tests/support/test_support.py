"""The tools of the tests keep their own promises."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from chatmesh.devbroker.greeting import read_server_name
from tests.support.broker import Broker
from tests.support.cluster import Cluster
from tests.support.processes import Process
from tests.support.proxy import FaultProxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

_LEAKY_TESTS = """
import asyncio

async def fail():
    raise ValueError

async def test_task(request):
    request.config.kept = asyncio.create_task(asyncio.Event().wait())

async def test_callback():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)

async def test_failed_task():
    asyncio.create_task(fail())

async def test_clean():
    await asyncio.create_task(asyncio.sleep(0))

def test_sync():
    pass
"""


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(broker.port) as proxy:
        yield proxy


@pytest.fixture
async def proxied(proxy: FaultProxy) -> AsyncIterator[Client]:
    client = await nats.connect(proxy.url, reconnect_time_wait=0.02, max_reconnect_attempts=-1)
    yield client
    await client.close()


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_broker_keeps_an_acknowledged_message_over_a_restart(
    broker: Broker, nats_client: Client, end: str
) -> None:
    js = nats_client.jetstream()
    await js.add_stream(name="KEPT", subjects=["kept"])
    ack = await js.publish("kept", b"still here")
    if end == "kill":
        broker.kill()
    old = broker.port
    await broker.restart()
    await eventually(lambda: nats_client.is_connected)
    assert broker.port == old
    assert (await js.get_msg("KEPT", ack.seq)).data == b"still here"


async def test_paused_broker_answers_only_after_resume(broker: Broker) -> None:
    broker.pause()
    assert await read_server_name(broker.port, timeout_seconds=0.3) is None
    broker.resume()
    assert await read_server_name(broker.port, timeout_seconds=10) == broker.name


@pytest.mark.parametrize("login", [{"token": "test-token"}, {"user": "ann", "password": "test-password"}])
async def test_broker_with_a_login_refuses_others(tmp_path: Path, login: dict[str, Any]) -> None:
    broker = await Broker.start(tmp_path, **login)
    try:
        client = await broker.connect()
        await client.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(b"CONNECT {}\r\nPING\r\n")
        assert b"-ERR 'Authorization Violation'" in await reader.read()
        writer.close()
    finally:
        broker.stop()


async def test_broker_that_can_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unknown field"):
        await Broker.start(tmp_path, config_extra="no_such_field: 1")


async def test_cluster_elects_a_leader(cluster: Cluster) -> None:
    await _make_replicated_stream(cluster)
    assert await cluster.leader_of("THREE") in cluster.brokers


@pytest.mark.slow
async def test_cluster_elects_a_leader_again_when_it_dies(cluster: Cluster) -> None:
    await _make_replicated_stream(cluster)
    first = await cluster.leader_of("THREE")
    first.kill()
    second = await cluster.leader_of("THREE")
    assert second is not first
    await first.restart()
    await cluster.wait_ready()


async def test_proxy_cut_resets_the_connection_and_lets_the_next_one_in(
    proxy: FaultProxy, proxied: Client
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await reader.readline()
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await eventually(lambda: proxied.stats["reconnects"] == 1)
    await proxied.flush(timeout=5)


async def test_proxy_blackhole_swallows_both_ways_and_gives_back_what_it_held(
    proxy: FaultProxy, proxied: Client, nats_client: Client
) -> None:
    heard = await proxied.subscribe("heard")
    await proxied.flush(timeout=5)
    proxy.blackhole()
    await nats_client.publish("heard", b"from outside")
    await nats_client.flush()
    with pytest.raises(TimeoutError):
        await heard.next_msg(timeout=0.3)
    assert proxied.is_connected
    proxy.blackhole(False)
    assert (await heard.next_msg(timeout=5)).data == b"from outside"


async def test_proxy_blackhole_hides_the_end_of_the_broker(broker: Broker, proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await reader.readline()
    proxy.blackhole()
    broker.kill()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), timeout=0.3)
    proxy.blackhole(False)
    assert await reader.read() == b""
    writer.close()


async def test_proxy_latency_holds_in_both_directions(proxy: FaultProxy, proxied: Client) -> None:
    loop = asyncio.get_running_loop()
    proxy.latency_seconds = 0.05
    began = loop.time()
    await asyncio.gather(*(proxied.rtt() for _ in range(5)))
    # Each at least there and back; side by side, so never five times that.
    assert 0.1 <= loop.time() - began < 0.4


async def test_proxy_refuses_new_connections_and_leaves_open_ones_alone(
    proxy: FaultProxy, proxied: Client
) -> None:
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxied.flush(timeout=5)
    await proxy.refuse(False)
    second = await nats.connect(proxy.url)
    assert proxy.connections == 2
    await second.close()


async def test_proxy_passes_on_an_orderly_end(proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await reader.readline()
    writer.write(b"nonsense\r\n" * 10)
    assert b"-ERR" in await reader.read()
    writer.close()
    await eventually(lambda: proxy.connections == 0)


async def test_process_output_is_found_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = _fake_chatmesh(
        tmp_path,
        monkeypatch,
        "import sys; print('port 17'); print('port 18'); print('oops', file=sys.stderr); sys.exit(5)",
    )
    assert (await process.wait_for_line(r"port (\d+)"))[1] == "17"
    assert (await process.wait_for_line(r"port (\d+)"))[1] == "18"
    await process.wait_for_line("oops", stream="stderr")
    assert await process.wait() == 5
    with pytest.raises(RuntimeError, match=r"ended \(5\) without 'port'"):
        await process.wait_for_line("port")


async def test_paused_process_is_killed_and_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = _fake_chatmesh(tmp_path, monkeypatch, "import sys; print('up'); sys.stdin.read()")
    await process.wait_for_line("up")
    process.pause()
    process.kill()
    assert process.returncode == -9
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_eventually_says_what_it_saw_last() -> None:
    seen = iter(range(1_000_000))
    with pytest.raises(AssertionError, match=r"the tide did not hold within 0.05 s; last seen: False"):
        await eventually(lambda: next(seen) < 0, timeout=0.05, message="the tide")
    with pytest.raises(AssertionError, match="no answer from the condition"):
        await eventually(asyncio.Event().wait, timeout=0.05)


def test_leak_check_bites(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeconftest("from tests.conftest import check_leaks, nothing_is_left")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(_LEAKY_TESTS)
    monkeypatch.setenv("COLUMNS", "300")  # pytest cuts its summary lines at the terminal's width
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rE")
    result.assert_outcomes(passed=5, errors=3)
    result.stdout.fnmatch_lines_random(
        [
            "ERROR *::test_task - *tasks outlived the test*",
            "ERROR *::test_callback - *exceptions reached the loop's handler*ZeroDivisionError*",
            "ERROR *::test_failed_task - *exceptions reached the loop's handler*ValueError*",
        ]
    )


def _fake_chatmesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Process:
    """The helper around another program: its working directory comes first where `-m chatmesh` is looked up."""
    (tmp_path / "chatmesh.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Process(directory=tmp_path)


async def _make_replicated_stream(cluster: Cluster) -> None:
    client = await cluster.connect()
    await client.jetstream().add_stream(name="THREE", subjects=["three"], num_replicas=3)
    await client.close()
