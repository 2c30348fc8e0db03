"""The schedule of faults: repeatable by its seed, and fair to those who are hit."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from chatmesh.operate.chaos.plan import Fault, Size, Step, schedule, zombies

SIZES = st.builds(Size, st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 3]))
FAULTS = st.lists(st.sampled_from(Fault), unique=True)
ALL = list(Fault)
SIZE = Size(pods=2, workers=3, servers=1)


def steps(seed: int, *, faults: list[Fault] = ALL, size: Size = SIZE, seconds: float = 60) -> list[Step]:
    return schedule(seed, faults, size, seconds=seconds, ack_wait_seconds=2)


@given(st.integers(0, 2**32), FAULTS, SIZES, st.floats(1, 300))
def test_same_seed_gives_the_same_schedule(
    seed: int, faults: list[Fault], size: Size, seconds: float
) -> None:
    again = [steps(seed, faults=faults, size=size, seconds=seconds) for _ in range(2)]
    assert again[0] == again[1]


def test_other_seeds_give_other_schedules() -> None:
    assert len({tuple(steps(seed)) for seed in range(50)}) == 50


@given(st.integers(0, 2**32), FAULTS, SIZES, st.floats(1, 300))
def test_faults_are_those_asked_for_within_the_time_on_processes_that_exist(
    seed: int, faults: list[Fault], size: Size, seconds: float
) -> None:
    for step in steps(seed, faults=faults, size=size, seconds=seconds):
        assert step.fault in faults
        assert 0 < step.at_seconds < seconds
        assert step.fault is Fault.READER_CUT or 0 <= step.target < size.of(step.fault.role)


@given(st.integers(0, 2**32), SIZES)
def test_nobody_is_hit_before_its_fault_is_over(seed: int, size: Size) -> None:
    hit = [step for step in steps(seed, size=size, seconds=120) if step.fault is not Fault.READER_CUT]
    for number, first in enumerate(hit):
        for second in hit[number + 1 :]:
            if (first.fault.role, first.target) == (second.fault.role, second.target):
                assert second.at_seconds > first.end_seconds


@given(st.integers(0, 2**32))
@example(729)  # one that overlapped another was forgotten
def test_every_fault_comes_within_a_minute_or_two(seed: int) -> None:
    assert {step.fault for step in steps(seed, seconds=120)} == set(Fault)


@given(st.integers(0, 2**32), SIZES)
def test_frozen_workers_are_frozen_for_longer_than_their_leases_last(seed: int, size: Size) -> None:
    frozen = [step for step in steps(seed, size=size, seconds=120) if step.fault is Fault.WORKER_STOP]
    frozen += zombies(size, seconds=120, ack_wait_seconds=2)
    assert frozen
    assert all(step.seconds > 2 for step in frozen)


@given(st.integers(0, 2**32))
def test_there_is_quiet_between_bursts(seed: int) -> None:
    """At some moment nothing is broken, and stays so for a while."""
    busy_to, quiet = 0.0, 0.0
    for step in steps(seed, seconds=60):
        quiet = max(quiet, step.at_seconds - busy_to)
        busy_to = max(busy_to, step.end_seconds)
    assert quiet >= 2.0


def test_zombies_wake_one_after_the_other_and_within_the_time() -> None:
    woken = zombies(Size(1, 3, 1), seconds=20, ack_wait_seconds=2)
    assert [step.target for step in woken] == [0, 1, 2]
    assert all(later.at_seconds > earlier.end_seconds for earlier, later in pairwise(woken))
    assert len(zombies(Size(1, 2, 1), seconds=1, ack_wait_seconds=2)) == 1
