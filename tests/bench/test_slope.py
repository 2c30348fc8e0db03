"""What leaks is told apart from what only wavers: the slope's arithmetic, and real processes that are watched."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatmesh.operate.bench import tables
from chatmesh.operate.bench.growth import GrowthWatch, heap_blocks
from chatmesh.operate.bench.measured import RESIDENT, Run
from chatmesh.operate.bench.meters import own_kib
from chatmesh.operate.bench.slope import Sample, settled, slope
from chatmesh.operate.processes import Child, distinct_ports
from tests.bench.made import result, run
from tests.support.waiting import eventually

PATIENCE_SECONDS = 30.0


def samples(value: Callable[[int], float], count: int = 120) -> list[Sample]:
    """One a quarter of a minute."""
    return [(number / 4, value(number)) for number in range(count)]


def test_a_line_has_its_own_slope_in_every_quarter() -> None:
    found = slope(samples(lambda number: 60_000 + 3 * number))
    assert found is not None
    assert (found.value, found.least, found.most) == (12, 12, 12)
    assert found.least > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_seen_through_noise_that_is_larger_than_what_it_takes(seed: int) -> None:
    noise = random.Random(seed)  # noqa: S311 - nothing is secret here
    found = slope(samples(lambda number: 60_000 + 25 * number + noise.uniform(-400, 400)))
    assert found is not None
    assert found.value == pytest.approx(100, rel=0.15)
    assert found.least > 0


@pytest.mark.parametrize("seed", range(5))
def test_what_wavers_about_one_height_grows_by_nothing(seed: int) -> None:
    noise = random.Random(seed)  # noqa: S311 - nothing is secret here
    found = slope(samples(lambda _: 60_000 + noise.uniform(-400, 400)))
    assert found is not None
    assert abs(found.value) < 10
    assert found.least <= 0


def test_one_step_is_no_leak() -> None:
    found = slope(samples(lambda number: 60_000 + (8000 if number > 70 else 0)))
    assert found is not None
    assert found.least == 0
    assert found.least <= 0


def test_what_is_given_back_counts_too() -> None:
    found = slope(samples(lambda number: 60_000 - 4 * number))
    assert found is not None
    assert found.value == -16


def test_only_the_second_half_of_the_time_counts() -> None:
    warm = samples(lambda number: min(number, 60) * 500.0)
    found = slope(settled(warm))
    assert found is not None
    assert (found.value, found.most) == (0, 0)
    assert slope(warm) != found


def test_few_samples_have_no_slope() -> None:
    assert settled([]) == []
    assert slope([]) is None
    assert slope(samples(lambda number: number, 11)) is None
    assert slope(samples(lambda number: number, 12)) is not None


KEEPS = """
import pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
pathlib.Path({ready!r}).touch()
kept = []
while True:
    signal.sigwait({{signal.SIGUSR1}})
    {step}
"""


async def test_a_process_that_keeps_what_it_makes_is_found_and_one_that_does_not_is_not(
    tmp_path: Path,
) -> None:
    """Half a MiB whenever it is told to, against the same that is let go."""
    steps = {"leaky": "kept.append(b'x' * (1 << 19))", "tidy": "made = b'x' * (1 << 19)"}
    ready = {name: tmp_path / f"{name}.ready" for name in steps}
    children = {
        name: Child(
            name,
            [sys.executable, "-c", KEEPS.format(step=step, ready=str(ready[name]))],
            tmp_path / name,
            os.environ,
        )
        for name, step in steps.items()
    }
    pids: dict[str, list[int]] = {}
    watch = GrowthWatch(lambda: pids, 0.0)
    found = Run(1, "soak", "mesh")
    try:
        for name, child in children.items():
            await child.start()
            assert child.pid is not None
            pids[name] = [child.pid]
            await eventually(ready[name].exists, timeout=PATIENCE_SECONDS)
        # The time of the samples is made up: each stands behind what the leaky one has taken since the last.
        for number in range(60):
            await watch.look(number)
            for child in children.values():
                child.send(signal.SIGUSR1)
            enough = watch.samples[-1]["leaky"] + 256
            await eventually(
                lambda enough=enough: own_kib(pids["leaky"][0]) >= enough, timeout=PATIENCE_SECONDS
            )
        watch.tell(found)
    finally:
        for child in children.values():
            await child.kill()
    assert found.spreads["leaky_slope"][0] > 0, found.samples
    assert found.figures["leaky_slope"] > 10 * abs(found.figures["tidy_slope"])
    assert found.spreads["tidy_slope"][0] <= 0
    assert set(found.samples[0]) == {"minutes", "leaky", "tidy", "leaky" + RESIDENT, "tidy" + RESIDENT}
    told = tables.growths(result(found))
    assert len(told) == 1
    assert "the leaky's memory grew all the time" in told[0]


async def test_samples_are_as_many_as_a_plot_needs_however_long_it_goes_on() -> None:
    watch = GrowthWatch(lambda: {"pod": []}, 3600.0)
    for half_second in range(7200):
        await watch.look(1000 + half_second / 2)
    assert 200 <= len(watch.samples) <= 241
    assert watch.samples[0]["minutes"] == 0
    assert 59 < watch.samples[-1]["minutes"] <= 60


async def test_a_process_that_says_nothing_of_its_heap_has_none() -> None:
    assert await heap_blocks(distinct_ports(1)[0]) == 0


def test_the_quarters_are_the_spread_of_a_slope() -> None:
    grown = run(1, "mesh", "soak", figures={"pod_slope": 20.0}, spreads={"pod_slope": [-5.0, 31.0]})
    line = result(grown).lines()[0]
    assert (line.mesh.median, line.mesh.least, line.mesh.most) == (20, -5, 31)
    assert line.is_met is False
    assert tables.growths(result(grown)) == []
