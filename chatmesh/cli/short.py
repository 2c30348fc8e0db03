"""A command that asks the broker something and is done: a tree of connection and replies around one coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from chatmesh.app import Mesh
from chatmesh.broker import Broker, Denial
from chatmesh.cli.process import run_loop
from chatmesh.config import Config
from chatmesh.errors import ConfigError
from chatmesh.kernel import Child, Service, SupervisionFailed, Supervisor, SystemClock, real_cause
from chatmesh.operate import permissions
from chatmesh.telemetry import configure_logging

T = TypeVar("T")

Question = Callable[[Broker], Coroutine[Any, Any, T]]


def ask(config: Config, question: Question[T]) -> T:
    """What `question` returns, given a broker that is connected. Raises what it raises, and BrokerUnreachableError or
    NotAuthorisedError where there is no connection, or where the broker's permissions refuse what the question needs.
    The streams are not ensured: nothing is changed by asking."""
    if config.nats.embedded:
        raise ConfigError(
            "nats.embedded gives every process a server of its own; there is nobody to ask",
            where="nats.embedded",
            mend="Set nats.servers to the server in question, with its token or user (`chatmesh dev` says where).",
        )
    configure_logging(level="error", style="auto")
    mesh = Mesh(config)
    asked = _Asked(question, mesh.broker, mesh.id)
    run_loop(_run(asked))
    return asked.answer[0]


class _Asked(Service, Generic[T]):
    """Asks once; up when the answer is there. A denial ends it at once: nothing would answer what was refused."""

    def __init__(self, question: Question[T], broker: Broker, id: str) -> None:
        self._question = question
        self._id = id
        self._denials: list[Denial] = []
        self._denied = asyncio.Event()
        self.broker = broker
        self.answer: list[T] = []
        broker.connection.on_denial(self._hear)

    async def run(self, started: Callable[[], None]) -> None:
        answer = asyncio.create_task(self._question(self.broker), name="question")
        denied = asyncio.create_task(self._denied.wait(), name="denied")
        try:
            await asyncio.wait({answer, denied}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise permissions.refusal(self._denials[0], self._id)
            self.answer.append(answer.result())
        finally:
            answer.cancel()
            denied.cancel()
            await asyncio.wait({answer, denied})
        started()

    def drain(self) -> None:
        return

    def _hear(self, denial: Denial) -> None:
        if not self._denied.is_set():
            self._denials.append(denial)
            self._denied.set()


async def _run(asked: _Asked[Any]) -> int:
    # All but the keeper of the streams, which would make what is missing.
    services = [(name, service) for name, service in asked.broker.services if name != "streams"]
    children = [Child(name, _always(service)) for name, service in services]
    children.append(Child("question", _always(asked), restart=False))
    tree = Supervisor("ask", children, clock=SystemClock(), observe=lambda _event: None)
    try:
        await tree.run(tree.drain)
    except SupervisionFailed as failure:
        raise real_cause(failure) from failure
    return 0


def _always(service: Service) -> Callable[[], Service]:
    return lambda: service
