"""`python -m chatmesh.operate.bench.load`: the client's process. The job comes as a line of JSON on stdin; lines of JSON
on stdout say how far it is, the last one what it saw."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench.job import Job, Outcome
from chatmesh.operate.bench.load.crowd import crowd
from chatmesh.operate.bench.load.crowds import slow
from chatmesh.operate.bench.load.deep import deep
from chatmesh.operate.bench.load.faults import stops, takeover
from chatmesh.operate.bench.load.firsts import firsts
from chatmesh.operate.bench.load.idle import idle
from chatmesh.operate.bench.load.resumes import resumes
from chatmesh.operate.bench.load.sizes import long, many
from chatmesh.operate.bench.load.soak import soak
from chatmesh.operate.bench.load.steering import Steering
from chatmesh.operate.bench.load.talks import talks
from chatmesh.telemetry import configure_logging

KINDS: dict[str, Callable[[Job, Steering], Awaitable[Outcome]]] = {
    "talks": talks,
    "firsts": firsts,
    "idle": idle,
    "resumes": resumes,
    "takeover": takeover,
    "stops": stops,
    "long": long,
    "many": many,
    "slow": slow,
    "crowd": crowd,
    "deep": deep,
    "soak": soak,
}


async def main() -> int:
    configure_logging(level="warning", style="json")  # stdout is for what is said to the benchmark
    steering = Steering()
    job = Job.parse(await steering.open())
    try:
        outcome = await KINDS[job.load.kind](job, steering)
    except (ChatmeshError, ExceptionGroup) as error:
        if not isinstance(cause := _first(error), ChatmeshError):
            raise
        steering.say("failed", what=str(cause))
        return 1
    steering.say("outcome", **outcome.wire())
    return 0


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _run(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


if __name__ == "__main__":
    sys.exit(_run(main()))
