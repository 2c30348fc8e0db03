"""Runs a mesh as this process: logs, loop, signals, and the exit code of whatever ends it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

from chatmesh.app import Mesh
from chatmesh.errors import ChatmeshError, Exit, GaveUpError
from chatmesh.kernel import (
    DrainInterrupted,
    RestartIntensityExceeded,
    StartFailed,
    SupervisionFailed,
    Supervisor,
    Unrepairable,
    real_cause,
    run_root,
)
from chatmesh.telemetry import configure_logging, get_logger

log = get_logger("app")

COLLECTOR_THRESHOLDS = (10_000, 20, 50)
"""Of the garbage collector's generations; Python's own are 700, 10, 10."""


def run_mesh(mesh: Mesh, *, started: Callable[[], None] = lambda: None) -> int:
    """Until a signal drains it. Raises ChatmeshError where it could not start or gave up."""
    config = mesh.config
    configure_logging(level=config.log.level, style=config.log.format, bound={"id": mesh.id})

    def ready() -> None:
        _settle_collector()
        url = mesh.server.url if mesh.server is not None else None
        log.info("app.ready", id=mesh.id, roles=list(config.roles), url=url)
        if mesh.notifier is not None:
            mesh.notifier.ready()
        started()

    return run_tree(mesh.tree, ready)


def _settle_collector() -> None:
    """What was imported stays: each full collection would look at its 95,000 objects again, 60 ms in which no reader gets a token.
    And nearly everything of a token dies by its count, so looking for cycles after each 700 objects finds few."""
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def run_tree(tree: Supervisor, started: Callable[[], None]) -> int:
    """A tree as this process, until a signal drains it. Raises like `run_mesh`."""
    return run_loop(_run(tree, started))


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it is installed (about a tenth faster), else on asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _run(tree: Supervisor, started: Callable[[], None]) -> int:
    try:
        await run_root(tree, started=started)
    except DrainInterrupted:
        return Exit.FAILED
    except SupervisionFailed as failure:
        raise _explain(failure) from failure
    return Exit.OK


def _explain(failure: SupervisionFailed) -> ChatmeshError:
    cause = real_cause(failure)
    if isinstance(cause, ChatmeshError) and (_is_start(failure) or isinstance(failure, Unrepairable)):
        return cause
    if isinstance(cause, RestartIntensityExceeded | StartFailed):
        return GaveUpError(str(cause))
    return GaveUpError(
        f"{failure.child_path} failed for good: {cause!r}",
        mend="The log above has every crash; please report it.",
    )


def _is_start(failure: BaseException | None) -> bool:
    """Whether the whole chain was a first start."""
    while isinstance(failure, SupervisionFailed):
        if isinstance(failure, RestartIntensityExceeded):
            return False
        failure = failure.__cause__
    return True
