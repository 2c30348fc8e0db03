"""`chatmesh health POD_ID`: the protocol's request-reply, from the outside."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import orjson

from chatmesh.app import Mesh
from chatmesh.broker import Requests
from chatmesh.cli.process import run_loop
from chatmesh.cli.settings import load_settings
from chatmesh.errors import ChatmeshError, Exit
from chatmesh.kernel import Child, Service, SupervisionFailed, Supervisor, SystemClock, real_cause
from chatmesh.protocol import subjects
from chatmesh.protocol.messages import HealthResponse
from chatmesh.protocol.tokens import token
from chatmesh.telemetry import configure_logging


def health(namespace: argparse.Namespace) -> int:
    return run_loop(_health(namespace))


async def _health(namespace: argparse.Namespace) -> int:
    subject = (subjects.worker_health if namespace.worker else subjects.pod_health)(
        token(namespace.id, "POD_ID")
    )
    mesh = Mesh(load_settings(namespace).config)
    configure_logging(level="error", style="auto")
    answer: list[HealthResponse] = []
    question = _Question(mesh.broker.requests, subject, namespace.timeout, answer)
    parts = [part for part in mesh.broker.services if part[0] in ("connection", "replies")]
    children = [Child(name, _always(service)) for name, service in parts]
    children.append(Child("question", lambda: question, restart=False))
    tree = Supervisor("health", children, clock=SystemClock(), observe=lambda _event: None)
    try:
        await tree.run(tree.drain)
    except SupervisionFailed as failure:
        raise real_cause(failure) from failure
    if namespace.json:
        print(orjson.dumps(answer[0].wire()).decode())
    else:
        print(f"{answer[0].id} is {answer[0].status}, {answer[0].load} active, at {answer[0].timestamp}")
    return Exit.OK if answer[0].status == "healthy" else Exit.FAILED


def _always(service: Service) -> Callable[[], Service]:
    return lambda: service


class _Question(Service):
    """Asks once; up when the answer is there."""

    def __init__(
        self, requests: Requests, subject: str, seconds: float, answer: list[HealthResponse]
    ) -> None:
        self._requests = requests
        self._subject = subject
        self._seconds = seconds
        self._answer = answer

    async def run(self, started: Callable[[], None]) -> None:
        message = await self._requests.request(self._subject, seconds=self._seconds)
        if message is None:
            raise ChatmeshError(
                f"nobody answered within {self._seconds:g} s",
                where=self._subject,
                mend="Is it running, with this id, on this broker? `--worker` asks a worker.",
            )
        self._answer.append(HealthResponse.decode(message.data))
        started()

    def drain(self) -> None:
        return
