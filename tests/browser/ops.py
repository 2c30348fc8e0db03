"""The operator's page in a tab, and meshes to look at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from nats.aio.client import Client

from tests.browser.chromium import Chromium, Tab
from tests.browser.doing import wait
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.support.reading import events, post
from tests.support.waiting import eventually

LIVE = "document.getElementById('pill').textContent === 'live'"
HEADLINE = "document.getElementById('headline').textContent"


async def open_ops(chromium: Chromium, url: str) -> Tab:
    """`/ops`, with a look on it."""
    tab = await chromium.open(f"{url}/ops")
    await wait(tab, f"{LIVE} && document.querySelector('#picture .node') !== null")
    return tab


@asynccontextmanager
async def mesh_of_one(url: str, *settings: str) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """Pod and worker in this process: the pod's URL, and a client of it."""
    async with running(url, *settings, id="one") as mesh, client_of(mesh) as http:
        assert mesh.server is not None
        yield mesh.server.url, http


async def mesh_of_four(chatmesh: Callable[..., Process], url: str) -> tuple[dict[str, Process], str]:
    """Two pods and two workers as processes, by their ids, and the URL of `pod-1`. A dead one is grey for 14 seconds, from four
    after its last heartbeat on: time enough for a busy machine to show it."""
    settings = ("--set", f"nats.servers={url}", "--set", "heartbeat.interval_seconds=2")
    processes = {
        name: chatmesh("run", "--role", name.split("-")[0], "--id", name, "--set", "http.port=0", *settings)
        for name in ("pod-1", "pod-2", "worker-1", "worker-2")
    }
    found = await processes["pod-1"].wait_for_line(r"(http://127\.0\.0\.1:\d+)")
    async with httpx.AsyncClient() as http:
        await eventually(lambda: _is_ready(http, found[1]), timeout=30)
    return processes, found[1]


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    return (await http.get(f"{url}/readyz")).status_code == 200


async def answered(http: httpx.AsyncClient, session_id: str, said: str, **options: Any) -> None:
    async with events(http, session_id) as stream:
        await post(http, session_id, said, **options)
        await stream.read_finals()


async def bury(client: Client, message_id: str, session_id: str) -> None:
    """A dead letter whose request can be answered."""
    request = {"message_id": message_id, "session_id": session_id, "message": "once more"}
    body = json.dumps(request | {"context": {"model": "echo"}}).encode()
    headers = {"Chatmesh-Reason": "no worker could answer it in 5 attempts"}
    await client.jetstream().publish(f"chat.dead.{session_id}", body, headers=headers)
