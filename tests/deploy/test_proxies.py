"""Real proxies with the files that ship: streams come piece by piece, and a pod that goes is nobody's end."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from chatmesh.protocol.tokens import Token
from tests.support.broker import Broker
from tests.support.children import Child
from tests.support.mesh import running
from tests.support.ports import free_port
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

PROXIES = Path(__file__).parents[2] / "deploy" / "proxies"
COUNT = {"model": "count", "max_tokens": 40, "tokens_per_second": 20}


def _nginx(folder: Path, text: str) -> list[str]:
    file = folder / "nginx-all.conf"
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    return ["-p", str(folder), "-c", str(file)]


def _haproxy(folder: Path, text: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(text)
    return ["-db", "-f", str(folder / "haproxy.cfg")]


def _caddy(folder: Path, text: str) -> list[str]:
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
    return ["run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


KINDS = {
    "nginx": ("nginx.conf", _nginx),
    "haproxy": ("haproxy.cfg", _haproxy),
    "caddy": ("Caddyfile", _caddy),
}


@asynccontextmanager
async def proxy(kind: str, folder: Path, pods: list[str]) -> AsyncIterator[str]:
    """The proxy's URL. Its file is the one that ships, but for names and ports."""
    name, arguments = KINDS[kind]
    program = shutil.which(kind, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        assert "CI" not in os.environ, f"{kind} is missing"
        pytest.skip(f"needs {kind}: apt-get install {kind}")
    port = free_port()
    text = (PROXIES / name).read_text()
    for number, address in enumerate(pods, start=1):
        text, found = re.subn(rf"\bpod-{number}:8080\b", address, text)
        assert found
    text, found = re.subn(r"(listen |bind :|^:)8000\b", rf"\g<1>{port}", text, flags=re.MULTILINE)
    assert found
    child = Child(
        [program, *arguments(folder, text)], stdout=folder / "out", stderr=folder / "err", cwd=folder
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient() as client:

            async def is_up() -> bool:
                assert child.is_running, (folder / "err").read_text()
                try:
                    return (await client.get(f"{url}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_up, timeout=20, message=f"{kind} in front of two pods")
        yield url
    finally:
        await asyncio.to_thread(child.kill)


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_comes_piece_by_piece_and_goes_on_at_the_other_pod(
    broker: Broker, tmp_path: Path, kind: str
) -> None:
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(running(broker.url, role="worker"))
        pods = {
            id: (leaving, await leaving.enter_async_context(running(broker.url, role="pod", id=id)))
            for id in ("p1", "p2")
            if (leaving := await stack.enter_async_context(AsyncExitStack()))
        }
        addresses = [
            mesh.server.url.removeprefix("http://") for _, mesh in pods.values() if mesh.server is not None
        ]
        url = await stack.enter_async_context(proxy(kind, tmp_path, addresses))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        for path in ("/metrics", "/ops", "/ops/ops.js", "/v1/ops/sessions"):
            assert (await client.get(path)).status_code == 404, "not for everybody"

        async with events(client, "endless") as stream:
            await post(client, "endless", message_id="m", model="count", tokens_per_second=20)
            await stream.read(3)
            # A proxy that collected an answer would not have shown any of it by now.
            assert (await client.delete("/v1/sessions/endless/messages/m")).status_code == 202
            reading = await stream.read_finals()
        assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"

        reading = Reading()
        async with events(client, "s", reading=reading) as stream:
            await post(client, "s", message_id="m", **COUNT)
            await stream.read(5)
            # Told a second later where the registry was slow; what came before was a broadcast.
            (serving,) = await eventually(lambda: worker.broker.registry.holders(Token("s"), seconds=5))
            leaving = asyncio.create_task(pods[serving.pod_id][0].aclose())
            await stream.read_all()  # the pod says drain, and ends the stream
        while not reading.finals:
            async with events(client, "s", reading=reading) as stream:
                if stream.response.status_code == 200:
                    await stream.read_finals()
        await leaving
        assert reading.text.split() == [str(number) for number in range(1, 41)]
        assert reading.ids == list(range(len(reading.ids)))
