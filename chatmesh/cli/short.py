"""A command that asks the broker something and is done: a tree of connection and replies around one coroutine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from chatmesh.app import Mesh
from chatmesh.broker import Broker
from chatmesh.cli.process import run_loop
from chatmesh.config import Config
from chatmesh.errors import ConfigError
from chatmesh.kernel import Child, Service, SupervisionFailed, Supervisor, SystemClock, real_cause
from chatmesh.operate.denials import Denials
from chatmesh.telemetry import configure_logging

T = TypeVar("T")

Question = Callable[[Broker], Coroutine[Any, Any, T]]


def ask(config: Config, question: Question[T], *, may_be_denied: bool = False, is_quiet: bool = False) -> T:
    """What `question` returns, given a broker that is connected. Raises what it raises, and BrokerUnreachableError or
    NotAuthorisedError where there is no connection, or where the broker's permissions refuse what the question needs
    (with `may_be_denied` only our inbox: the question looks for refusals itself). The streams are not ensured: nothing
    is changed by asking. `is_quiet`: nothing is logged, since the question tells itself of what it meets."""
    if config.nats.embedded:
        raise ConfigError(
            "nats.embedded gives every process a server of its own; there is nobody to ask",
            where="nats.embedded",
            mend="Set nats.servers to the server in question, with its token or user (`chatmesh dev` says where).",
        )
    configure_logging(level="none" if may_be_denied or is_quiet else "error", style="auto")
    asked = _Asked(question, Mesh(config), may_be_denied=may_be_denied)
    run_loop(_run(asked))
    return asked.answer[0]


class _Asked(Service, Generic[T]):
    """Asks once; up when the answer is there."""

    def __init__(self, question: Question[T], mesh: Mesh, *, may_be_denied: bool) -> None:
        self._question = question
        self._may_be_denied = may_be_denied
        self._denials = Denials(mesh.broker.connection, mesh.id)
        self.broker = mesh.broker
        self.answer: list[T] = []

    async def run(self, started: Callable[[], None]) -> None:
        await self.broker.connection.flush()
        self._denials.check()
        question = self._question(self.broker)
        self.answer.append(await (question if self._may_be_denied else self._denials.guard(question)))
        started()

    def drain(self) -> None:
        return


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
