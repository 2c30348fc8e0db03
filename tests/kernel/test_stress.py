"""Trees that are started, hurt, drained and cancelled at random turns of the loop always end, and leave no task."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

import pytest

from chatmesh.kernel import Child, EventKind, Mailbox, MailboxClosed, MailboxFull, SupervisionFailed
from tests.kernel.world import Scripted, Teller, World, turns

ROUNDS_PER_SEED = 25


class Storm:
    """One tree and what chance does to it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.world = World()
        self.boxes = [Mailbox[object](2) for _ in range(4)]
        actors = [Child(f"actor{n}", partial(self.make, box)) for n, box in enumerate(self.boxes)]
        slow = Child("slow", lambda: Scripted(self.slow), drain_seconds=1)
        job = Child("job", lambda: Scripted(self.job), restart=False)
        inner = [actors[0], slow, actors[1]]
        pair = Child("pair", lambda: self.world.supervisor("pair", *inner, restarts=chance.randrange(2)))
        self.root = self.world.supervisor(
            "root", actors[2], pair, job, actors[3], restarts=chance.randrange(4)
        )

    def make(self, box: Mailbox[object]) -> Teller:
        if self.chance.random() < 0.05:
            raise OSError("factory")
        return Teller(box)

    async def slow(self, service: Scripted, started: Callable[[], None]) -> None:
        await turns(self.chance.randrange(4))
        started()
        try:
            await (asyncio.Event() if self.chance.random() < 0.5 else service.drained).wait()
        finally:
            await turns(self.chance.randrange(4))

    async def job(self, _: Scripted, started: Callable[[], None]) -> None:
        await turns(self.chance.randrange(4))
        started()
        if self.chance.random() < 0.2:
            raise ValueError("job")

    def blow(self) -> None:
        box = self.chance.choice(self.boxes)
        message = self.chance.choice(["fine", "fine", ValueError("boom"), asyncio.CancelledError()])
        try:
            box.send_nowait(message)
        except (MailboxClosed, MailboxFull):
            return

    async def rage(self) -> asyncio.Task[None]:
        """Run the tree through the storm, to its end."""
        task = asyncio.create_task(self.root.run(lambda: None), name="root")
        end = self.chance.randrange(40)
        for turn in range(3000):
            if task.done():
                return task
            if self.chance.random() < 0.3:
                self.blow()
            if self.chance.random() < 0.3:
                self.world.clock.advance(self.chance.random())
            if turn == end or (turn > end and self.chance.random() < 0.05):
                if self.chance.random() < 0.6:
                    self.root.drain()
                else:
                    task.cancel()
            await asyncio.sleep(0)
        raise AssertionError(f"the tree did not end: {self.root.children_state()}")


@pytest.mark.parametrize("seed", range(20))
async def test_tree_ends_without_a_task_left_whenever_it_is_drained_or_cancelled(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable chance, no secret
    for _ in range(ROUNDS_PER_SEED):
        storm = Storm(chance)
        task = await storm.rage()
        assert task.cancelled() or isinstance(task.exception(), SupervisionFailed | None)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # Each child that was ever up has said that it stopped, and nothing is up after that.
        up: set[str] = set()
        for event in storm.world.events:
            if event.kind is EventKind.STARTED:
                up.add(event.path)
            elif event.kind is EventKind.STOPPED:
                up.discard(event.path)
        assert up == set()
