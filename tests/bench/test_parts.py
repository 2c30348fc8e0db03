"""What the steps of a batch cost by themselves: each step does what it says, in both ways."""

from __future__ import annotations

import json

import pytest

from chatmesh.operate.bench.parts import SIZES, cost, steps
from chatmesh.protocol.records import Record


@pytest.mark.parametrize("size", SIZES)
def test_both_ways_of_a_step_come_to_the_same(size: int) -> None:
    done = {name: step() for name, step in steps(size).items()}
    assert done["take it apart"] == done["[by its JSON]"]
    assert done["make events"] == done["[by their JSON]"]
    record = done["take it apart"]
    assert isinstance(record, Record)
    assert len(record.chunks) == size
    assert len(json.loads(str(done["make a record of them"], "utf-8"))["chunks"]) == size


def test_a_cost_is_that_of_one_call() -> None:
    """A thousand calls in one are dearer than one."""
    one = cost(lambda: None)
    assert 0 < one < cost(lambda: [None for _ in range(1000)])
