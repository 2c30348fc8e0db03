"""A client of the benchmark that does nothing but go apart once: `python -m tests.bench.apart`."""

from __future__ import annotations

import asyncio

from chatmesh.operate.bench.job import Outcome
from chatmesh.operate.bench.load.steering import Steering


async def main() -> None:
    steering, outcome = Steering(), Outcome()
    await steering.open()
    await steering.ready()
    async with steering.apart():
        with steering.telling(lambda: 1, 2, phase="filling"):
            await asyncio.sleep(0)  # so that it is told
    steering.measured(outcome)
    steering.say("outcome", **outcome.wire())


if __name__ == "__main__":
    asyncio.run(main())
