"""Everything on at once: tokens, a user at the broker for each process, TLS, and sealed payloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.auth.support import HS, bearer, token
from tests.natsconf.support import Guarded
from tests.natsconf.test_whole_path import certificates, holder, started
from tests.operate.support import finished
from tests.sealing.support import ring_of, sealed, write_ring
from tests.support.processes import Process
from tests.support.reading import Reading, events

Start = Callable[..., Process]

SECRET = "the-secret-word"
COUNT = {"model": "count", "max_tokens": 60, "tokens_per_second": 15}


def _sets(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


async def _say(
    client: httpx.AsyncClient, session: str, text: str, message_id: str = "m", **context: object
) -> httpx.Response:
    body = {"message": text, "message_id": message_id, "context": {"model": "echo"} | context}
    return await client.post(f"/v1/sessions/{session}/messages", json=body)


def _on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.slow
async def test_whole_path_with_everything_on(tmp_path: Path, chatmesh: Start) -> None:
    tls = certificates(tmp_path)
    ring = write_ring(tmp_path / "ring.json", ring_of())
    guarded = await Guarded.start(tmp_path / "nats", chatmesh, "--tls", str(tls))
    more = _sets((*HS, sealed(ring), f"nats.tls.ca_file={tls / 'ca.pem'}"))
    try:
        workers = {id: (await started(chatmesh, guarded, id, *more))[0] for id in ("worker-1", "worker-2")}
        pods = [await started(chatmesh, guarded, id, *more) for id in ("pod-1", "pod-2")]
        one, two = (
            httpx.AsyncClient(base_url=url, timeout=30, headers=bearer(token("alice"))) for _, url in pods
        )
        async with one, two:
            nobody = await one.get("/v1/sessions", headers={"Authorization": ""})
            assert nobody.status_code == 401
            async with events(two, "s") as stream:
                assert (await _say(one, "s", SECRET)).status_code == 202
                assert (await stream.read_finals()).text == SECRET
            strangers = bearer(token("bob"))
            for path in ("/v1/sessions/s/messages", "/v1/sessions/s/messages/m"):
                assert (await two.get(path, headers=strangers)).status_code == 404
            await _is_continued_when_its_worker_dies(one, two, guarded, workers)
            rows = (await two.get("/v1/sessions/s/messages")).json()["messages"]
            assert [row["content"] for row in rows] == [SECRET, SECRET]
            assert (await one.delete("/v1/sessions/s")).status_code == 202
            assert (await two.get("/v1/sessions/s/messages")).status_code == 404
            code, process = await finished(chatmesh, "verify", "t", "-c", guarded.file("monitor"), *more)
            assert code == 0, process.report()
        for process, _ in pods:
            assert await process.terminate(timeout=30) == 0
        for process in (*workers.values(), *(pod for pod, _ in pods)):
            assert SECRET not in process.stdout + process.stderr
            assert "permission_denied" not in process.stderr
    finally:
        guarded.broker.stop()
    kept = await asyncio.to_thread(_on_disk, guarded.folder / "jetstream")
    assert b"chat.card.s" in kept, "else this is not the broker's store"
    assert SECRET.encode() not in kept


async def _is_continued_when_its_worker_dies(
    one: httpx.AsyncClient,
    two: httpx.AsyncClient,
    guarded: Guarded,
    workers: dict[str, Process],
) -> None:
    reading = Reading()
    async with events(two, "t", reading=reading) as stream:
        await _say(one, "t", "", **COUNT)
        await stream.read(5)
        workers[await holder(guarded, "t")].kill()
        await stream.read_finals()
    assert reading.text.split() == [str(number) for number in range(1, 61)]
    assert reading.finals[-1]["metadata"]["attempt"] == 2
