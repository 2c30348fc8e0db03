"""Runs a mesh as this process: logs, loop, signals, and the exit code of whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from chatmesh.app import Mesh
from chatmesh.errors import ChatmeshError, Exit, GaveUpError
from chatmesh.kernel import (
    DrainInterrupted,
    RestartIntensityExceeded,
    StartFailed,
    SupervisionFailed,
    Unrepairable,
    real_cause,
    run_root,
)
from chatmesh.telemetry import configure_logging, get_logger

log = get_logger("app")


def run_mesh(mesh: Mesh, *, started: Callable[[], None] = lambda: None) -> int:
    """Until a signal drains it. Raises ChatmeshError where it could not start or gave up."""
    config = mesh.config
    configure_logging(level=config.log.level, style=config.log.format, bound={"id": mesh.id})
    return run_loop(_run(mesh, started))


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it is installed (about a tenth faster), else on asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _run(mesh: Mesh, started: Callable[[], None]) -> int:
    def ready() -> None:
        url = mesh.server.url if mesh.server is not None else None
        log.info("app.ready", id=mesh.id, roles=list(mesh.config.roles), url=url)
        if mesh.notifier is not None:
            mesh.notifier.ready()
        started()

    try:
        await run_root(mesh.tree, started=ready)
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
