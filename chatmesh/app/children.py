"""Children of the tree: how often one may crash, how long it gets to stop, and what is logged of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatmesh.errors import ChatmeshError
from chatmesh.kernel import (
    Child,
    EventKind,
    Intensity,
    KernelEvent,
    Service,
    SupervisionFailed,
    Supervisor,
    SystemClock,
    real_cause,
)
from chatmesh.telemetry import get_logger

log = get_logger("app")

STOP_SECONDS = 5.0

SUBTREE_SECONDS = 30.0
"""For a subtree's other children, which stop one after the other, each in milliseconds as a rule."""


class Root(Supervisor):
    """Says that the process is leaving before the first child hears of it."""

    def __init__(self, children: Sequence[Child], *, on_drain: Callable[[], None]) -> None:
        super().__init__("root", children, intensity=Intensity(3, 60.0), clock=SystemClock(), observe=observe)
        self._on_drain = on_drain

    def drain(self) -> None:
        self._on_drain()
        super().drain()


def child(name: str, service: Service, *, drain_seconds: float = STOP_SECONDS) -> Child:
    """A child whose service is one object for the process's life: others hold references to it, and it may run again
    after a crash."""
    return Child(name, lambda: service, drain_seconds=drain_seconds)


def once(name: str, service: Service) -> Child:
    """A child that is done when it has done its work."""
    return Child(name, lambda: service, restart=False)


def nested(
    name: str,
    build: Callable[[], list[Child]],
    *,
    drain_seconds: float,
    kind: type[Supervisor] = Supervisor,
    made: Callable[[Supervisor], None] = lambda _: None,
) -> Child:
    """A subtree. One that gave up is built anew from nothing, while a child of it that crashed runs again as it is:
    others hold references to it. `made` is told each one."""

    def make() -> Supervisor:
        tree = kind(name, build(), intensity=Intensity(5, 30.0), clock=SystemClock(), observe=observe)
        made(tree)
        return tree

    return Child(name, make, drain_seconds=drain_seconds)


def observe(event: KernelEvent) -> None:
    """What happens in the tree, as log lines."""
    name = f"kernel.{event.kind}"
    match event.kind:
        case EventKind.STARTED | EventKind.STOPPED:
            log.debug(name, path=event.path)
        case EventKind.SIGNAL:
            log.info(name, path=event.path, signal=event.signal_name)
        case EventKind.RESTARTING | EventKind.CANCELLED:
            log.warning(name, path=event.path, backoff_seconds=event.backoff_seconds)
        case _:
            _tell_failure(name, event)


def _tell_failure(name: str, event: KernelEvent) -> None:
    """What we raise on purpose says all there is, once, where it happened; anything else needs its traceback."""
    is_explained = event.error is not None and isinstance(real_cause(event.error), ChatmeshError)
    if is_explained and isinstance(event.error, SupervisionFailed):
        log.debug(name, path=event.path, error=repr(event.error))
    else:
        traceback = None if is_explained else event.error
        log.error(name, path=event.path, error=repr(event.error), exc_info=traceback)
