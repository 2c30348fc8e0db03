"""The same pair in another language: Node with the client that NATS publishes, and nothing of ours."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.peers import request
from tests.support.broker import Broker
from tests.support.children import Child
from tests.support.live import Live
from tests.support.mesh import pod_and_client, running
from tests.support.node import installed
from tests.support.reading import events, post
from tests.support.waiting import eventually

PROGRAMS = Path(__file__).parent / "node"
START_SECONDS = 30.0


@pytest.fixture(scope="session")
def programs() -> Path:
    """The programs beside their installed packages, in a folder outside the checkout that later runs use again."""
    return installed(PROGRAMS, "the Node peers are")


class Peer:
    """A running program: its lines so far, and its standard input."""

    def __init__(self, child: Child, output: Path, errors: Path) -> None:
        self._child = child
        self._output = output
        self._errors = errors

    @property
    def lines(self) -> list[dict[str, Any]]:
        if not self._child.is_running:
            raise RuntimeError(self._errors.read_text())
        whole = self._output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [line["chunk"] for line in self.lines if "chunk" in line]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [line["request"] for line in self.lines if "request" in line]

    @property
    def is_answered(self) -> bool:
        return any(chunk["is_final"] for chunk in self.chunks)

    def ask(self, body: dict[str, Any]) -> None:
        self._child.write(json.dumps(body).encode() + b"\n")


@asynccontextmanager
async def peer(programs: Path, directory: Path, program: str, *arguments: str) -> AsyncIterator[Peer]:
    output, errors = directory / f"{program}.out", directory / f"{program}.err"
    child = Child(
        [shutil.which("node") or "node", program, *arguments], stdout=output, stderr=errors, cwd=programs
    )
    running_peer = Peer(child, output, errors)
    try:
        await eventually(lambda: running_peer.lines, timeout=START_SECONDS, message=f"a ready {program}")
        yield running_peer
    finally:
        await asyncio.to_thread(child.kill)


async def test_node_pods_request_is_answered_to_it_and_to_readers_of_ours(
    broker: Broker, programs: Path, tmp_path: Path
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
        peer(programs, tmp_path, "pod.mjs", broker.url, "js-pod", "s") as pod,
        events(client, "s") as stream,
    ):
        pod.ask(request("s", context={"max_tokens": 40, "tokens_per_second": 200}))
        reading = await stream.read_finals()
        await eventually(lambda: pod.is_answered)
        chunks, subjects = pod.chunks, {line["subject"] for line in pod.lines if "subject" in line}
    assert reading.ids == list(range(41))
    assert len({event.id for event in reading.events}) == 41
    assert chunks == reading.chunks
    assert subjects == {"chat.session.s.broadcast"}


async def test_node_pod_answers_our_health_request(broker: Broker, programs: Path, tmp_path: Path) -> None:
    async with (
        running(broker.url, role="worker", id="w") as mesh,
        peer(programs, tmp_path, "pod.mjs", broker.url, "js-pod", "s"),
    ):
        answer = await mesh.broker.requests.request("chat.pod.js-pod.health", seconds=5)
    assert answer is not None
    assert json.loads(answer.data)["active_connections"] == 1


@pytest.mark.parametrize("shape", ["single", "batch"])
@pytest.mark.parametrize("pod_id", ["pod-1", "-"], ids=["to the pod", "by broadcast"])
async def test_node_worker_answers_what_was_posted_to_our_pod(
    broker: Broker, programs: Path, tmp_path: Path, live: Live, pod_id: str, shape: str
) -> None:
    words = "what is the weather like today — très ☀"
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        peer(programs, tmp_path, "worker.mjs", broker.url, pod_id, shape) as worker,
        live(client, "s", message_id="m") as stream,
    ):
        accepted = (await post(client, "s", words, model="js", message_id="m")).json()
        reading = await stream.read_all()
        await eventually(lambda: worker.requests)
        (asked,) = worker.requests
    assert reading.text == f"{words} "
    assert reading.ids == list(range(len(words.split())))
    assert reading.chunks[-1]["metadata"]["finish_reason"] == "stop"
    assert asked["message"] == words
    assert asked["correlation_id"] == accepted["correlation_id"]


async def test_node_pod_and_node_worker_beside_our_pod_share_one_session(
    broker: Broker, programs: Path, tmp_path: Path, live: Live
) -> None:
    """A mesh that is theirs but for one pod: both kinds of pod show the same answer."""
    async with (
        pod_and_client(broker.url, "pod-1") as (_, client),
        peer(programs, tmp_path, "worker.mjs", broker.url, "-", "single"),
        peer(programs, tmp_path, "pod.mjs", broker.url, "js-pod", "s") as pod,
        live(client, "s") as stream,
    ):
        pod.ask(request("s", message="one two three four"))
        reading = await stream.read_finals()
        await eventually(lambda: pod.is_answered)
        chunks = pod.chunks
    assert reading.text == "one two three four "
    assert chunks == reading.chunks
