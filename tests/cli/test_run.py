"""`chatmesh run`: pods and workers as processes of their own, on a broker that somebody else runs."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx
import psutil
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from tests.cli.support import StartProcess, log_lines
from tests.support.broker import Broker
from tests.support.processes import Process, free_port
from tests.support.reading import events, post
from tests.support.waiting import eventually


async def wait_health(client: Client, subject: str) -> dict[str, Any]:
    """The first answer to a health request."""

    async def ask() -> dict[str, Any] | None:
        try:
            return dict(json.loads((await client.request(subject, timeout=1)).data))
        except NatsError:
            return None

    return dict(await eventually(ask, timeout=30, message=f"an answer on {subject}"))


async def url_of(process: Process) -> str:
    line = await process.wait_for_line('"event": "web.listening"', stream="stderr")
    return str(json.loads(line.string)["url"])


async def test_pod_needs_no_more_than_servers_port_and_id(chatmesh: StartProcess, broker: Broker) -> None:
    port = free_port()
    server = f"nats.servers={broker.url}"
    pod = chatmesh("run", "--role", "pod", "--set", server, "--set", f"http.port={port}", "--id", "pod-1")
    assert await url_of(pod) == f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert (await client.get("/readyz")).status_code == 200
        chatmesh("run", "--role", "worker", "--set", server)
        async with events(client, "s") as stream:
            assert (await post(client, "s", "over NATS", model="echo")).status_code == 202
            assert (await stream.read_finals()).text == "over NATS"
    assert await pod.terminate() == 0
    assert not pod.stdout
    assert log_lines(pod.stderr)


async def test_worker_serves_no_http_unless_told(
    chatmesh: StartProcess, broker: Broker, nats_client: Client
) -> None:
    server = f"nats.servers={broker.url}"
    silent = chatmesh("run", "--role", "worker", "--id", "silent", "--set", server, "--set", "http.port=0")
    speaking = chatmesh(
        *("run", "--role", "worker", "--id", "speaking", "--set", server),
        *("--set", "http.port=0", "--set", "http.enabled=true"),
    )
    url = await url_of(speaking)
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
    answer = await wait_health(nats_client, "chat.worker.silent.health")
    assert answer["worker_id"] == "silent"
    listening = [
        connection
        for connection in psutil.Process(silent.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert not listening


@pytest.mark.slow
async def test_worker_with_http_is_no_pod(
    chatmesh: StartProcess, broker: Broker, nats_client: Client
) -> None:
    """It shows how it is, and its metrics; nobody can send messages there, and it answers to no pod's name."""
    process = chatmesh(
        *("run", "--role", "worker", "--id", "w", "--set", f"nats.servers={broker.url}"),
        *("--set", "http.port=0", "--set", "http.enabled=true"),
    )
    async with httpx.AsyncClient(base_url=await url_of(process), timeout=10) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await post(client, "s")).status_code == 404
    await wait_health(nats_client, "chat.worker.w.health")
    with pytest.raises(NatsError):
        await nats_client.request("chat.pod.w.health", timeout=1)


@pytest.mark.slow
async def test_all_roles_in_one_process_answer(chatmesh: StartProcess, broker: Broker) -> None:
    process = chatmesh("run", "--role", "all", "--set", f"nats.servers={broker.url}", "--set", "http.port=0")
    url = await url_of(process)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", "hello", model="echo")).status_code == 202
        assert (await stream.read_finals()).text == "hello"
    assert await process.terminate() == 0


async def test_second_process_of_the_same_id_is_refused_and_the_first_does_not_notice(
    chatmesh: StartProcess, broker: Broker, nats_client: Client
) -> None:
    arguments = ("run", "--role", "worker", "--id", "same", "--set", f"nats.servers={broker.url}")
    first = chatmesh(*arguments)
    before = await wait_health(nats_client, "chat.worker.same.health")
    second = chatmesh(*arguments)
    assert await second.wait(timeout=30) == 1
    assert "a living process has the id 'same' already" in second.stderr
    assert "--id NAME" in second.stderr
    after = await wait_health(nats_client, "chat.worker.same.health")
    assert first.is_running
    assert after["boot"] == before["boot"]


@pytest.mark.parametrize("role", ["worker", pytest.param("pod", marks=pytest.mark.slow)])
async def test_id_is_free_at_once_after_a_kill(
    chatmesh: StartProcess, broker: Broker, nats_client: Client, role: str
) -> None:
    arguments = ("run", "--role", role, "--id", "same", "--set", f"nats.servers={broker.url}")
    first = chatmesh(*arguments, "--set", "http.port=0")
    before = await wait_health(nats_client, f"chat.{role}.same.health")
    first.kill()
    second = chatmesh(*arguments, "--set", "http.port=0")
    after = await wait_health(nats_client, f"chat.{role}.same.health")
    assert second.is_running
    assert after["boot"] != before["boot"]


async def test_leaving_worker_says_that_it_drains_until_its_answer_has_ended(
    chatmesh: StartProcess, broker: Broker, nats_client: Client
) -> None:
    server = f"nats.servers={broker.url}"
    worker = chatmesh("run", "--role", "worker", "--id", "w", "--set", server)
    pod = chatmesh("run", "--role", "pod", "--id", "p", "--set", server, "--set", "http.port=0")
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hear(message: Any) -> None:
        heard.put_nowait(json.loads(message.data))

    async with (
        httpx.AsyncClient(base_url=await url_of(pod), timeout=30) as client,
        events(client, "s") as stream,
    ):
        await wait_health(nats_client, "chat.worker.w.health")
        await post(client, "s", model="count", max_tokens=50, tokens_per_second=8)
        await stream.read(5)
        subscription = await nats_client.subscribe("chat.worker.w.heartbeat", cb=hear)
        await nats_client.flush()
        worker.signal(signal.SIGTERM)

        async def is_draining() -> bool:
            return (await wait_health(nats_client, "chat.worker.w.health"))["status"] == "draining"

        await eventually(is_draining, message="a draining worker")
        assert (await wait_health(nats_client, "chat.worker.w.health"))["active_generations"] == 1
        assert (await stream.read_finals()).ids == list(range(51))
    assert await worker.wait(timeout=30) == 0
    await subscription.unsubscribe()
    said = [heard.get_nowait()["status"] for _ in range(heard.qsize())]
    assert said[-1] == "stopped"
    assert "draining" in said
    assert said.index("draining") < said.index("stopped")


@pytest.mark.slow
async def test_process_that_lost_its_broker_leaves_at_once_when_told(
    chatmesh: StartProcess, broker: Broker, nats_client: Client
) -> None:
    process = chatmesh(
        "run", "--role", "all", "--id", "x", "--set", f"nats.servers={broker.url}", "--set", "http.port=0"
    )
    await url_of(process)
    await wait_health(nats_client, "chat.worker.x.health")
    await nats_client.close()
    broker.kill()
    await process.wait_for_line("broker.disconnected", stream="stderr")
    assert await process.terminate(timeout=30) == 0


@pytest.mark.slow
async def test_settings_come_from_file_environment_and_command_line_the_later_over_the_earlier(
    chatmesh: StartProcess, broker: Broker, tmp_path: Any
) -> None:
    (tmp_path / "mesh.yaml").write_text(
        f"roles: [pod]\nid: of-file\nnats: {{servers: [{broker.url}]}}\nhttp: {{port: 1}}\nlog: {{level: debug}}\n"
    )
    env = {"CHATMESH_CONFIG": "mesh.yaml", "CHATMESH_HTTP__PORT": "2"}
    process = chatmesh("run", "--set", "http.port=0", env=env)
    await url_of(process)
    line = log_lines(process.stderr)[-1]
    assert line["id"] == "of-file"
