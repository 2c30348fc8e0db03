"""The embedded server works, keeps what it acknowledged, and comes back where it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from chatmesh.devbroker import EmbeddedServer
from tests.devbroker.directories import mode_of
from tests.support.waiting import eventually


@asynccontextmanager
async def connected(server: EmbeddedServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url, token=server.token)
    try:
        yield client
    finally:
        await client.close()


async def store(server: EmbeddedServer, data: bytes) -> None:
    async with connected(server) as client:
        js = client.jetstream()
        await js.add_stream(name="KEPT", subjects=["kept"])
        await js.publish("kept", data)


async def stored(server: EmbeddedServer) -> bytes | None:
    async with connected(server) as client:
        return (await client.jetstream().get_msg("KEPT", 1)).data


async def test_server_stores_for_those_who_have_the_token(server: EmbeddedServer) -> None:
    await server.start()
    await store(server, b"hello")
    assert await stored(server) == b"hello"
    assert server.token not in server.url


async def test_server_refuses_those_without_the_token(server: EmbeddedServer) -> None:
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"CONNECT {}\r\nPING\r\n")
    assert b"-ERR 'Authorization Violation'" in await reader.read()
    writer.close()


async def test_stopped_server_starts_again_with_store_port_and_token(server: EmbeddedServer) -> None:
    await server.start()
    await store(server, b"before")
    before = (server.url, server.token)
    await server.stop()
    assert server.pid is None
    assert await server.wait() == 0
    await server.start()
    assert (server.url, server.token) == before
    assert await stored(server) == b"before"


async def test_killed_server_is_noticed_and_starts_again_with_store_port_and_token(
    server: EmbeddedServer,
) -> None:
    await server.start()
    await store(server, b"before")
    before = (server.url, server.token, server.pid)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    assert "Server is ready" in server.last_log_lines()[-1]
    await server.start()
    assert (server.url, server.token) == before[:2]
    assert server.pid != before[2]
    assert await stored(server) == b"before"


async def test_clients_reconnect_to_a_server_that_was_started_again(server: EmbeddedServer) -> None:
    await server.start()
    async with connected(server) as client:
        client.options["reconnect_time_wait"] = 0.02
        await server.stop()
        await server.start()
        await eventually(lambda: client.stats["reconnects"] >= 1 and client.is_connected)


async def test_store_of_a_killed_run_is_recovered_by_another_object(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    first, second = make_server(), make_server()
    await first.start()
    await store(first, b"kept")
    await first.stop(0)
    await second.start()
    assert await stored(second) == b"kept"
    assert second.token != first.token


async def test_options_reach_the_server(make_server: Callable[..., EmbeddedServer]) -> None:
    server = make_server(token="a-token-of-mine", max_payload_bytes=4096, sync_always=True)
    await server.start()
    assert server.token == "a-token-of-mine"
    async with connected(server) as client:
        assert client.max_payload == 4096
    assert "sync_interval: always" in (server.log_file.parent / "nats-server.conf").read_text()


async def test_server_listens_on_loopback_only(server: EmbeddedServer) -> None:
    await server.start()
    listening = [line for line in server.last_log_lines(100) if "Listening for" in line]
    assert len(listening) == 1
    assert f"client connections on 127.0.0.1:{server.port}" in listening[0]


async def test_only_the_owner_can_read_what_the_server_writes(server: EmbeddedServer, data_dir: Path) -> None:
    await server.start()
    await store(server, b"private")
    assert mode_of(data_dir) == 0o700
    for name in ("nats-server.conf", "nats-server.log", "lock"):
        assert mode_of(data_dir / name) == 0o600, name
    assert (data_dir / "jetstream" / "$G" / "streams" / "KEPT").is_dir()
    assert server.token not in server.log_file.read_text()


async def test_log_lines_are_those_of_the_current_run(server: EmbeddedServer) -> None:
    await server.start()
    await server.stop()
    await server.start()
    lines = server.last_log_lines(1000)
    assert sum("Starting nats-server" in line for line in lines) == 1
    assert server.log_file.read_text().count("Starting nats-server") == 2
    assert server.last_log_lines(1) == lines[-1:]


@pytest.mark.parametrize(
    "name", ["with space", 'quo"te', "back\\slash", "dollar $HOME", "Bücher", "tab\there"]
)
async def test_any_directory_name_works(
    make_server: Callable[..., EmbeddedServer], tmp_path: Path, name: str
) -> None:
    server = make_server(tmp_path / name)
    await server.start()
    await store(server, b"x")
    assert (tmp_path / name / "jetstream" / "$G").is_dir()


async def test_paused_server_is_stopped_by_force(server: EmbeddedServer) -> None:
    await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop(0.05)
    assert await server.wait() == -signal.SIGKILL


async def test_stop_may_come_twice_and_before_start(server: EmbeddedServer) -> None:
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()


async def test_started_server_refuses_a_second_start(server: EmbeddedServer) -> None:
    await server.start()
    with pytest.raises(RuntimeError, match="runs already"):
        await server.start()
    assert server.is_running


async def test_port_and_wait_mean_nothing_before_the_start(server: EmbeddedServer) -> None:
    with pytest.raises(RuntimeError, match="only after start"):
        _ = server.url
    with pytest.raises(RuntimeError, match="never started"):
        await server.wait()
