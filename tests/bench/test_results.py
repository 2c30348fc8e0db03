"""Figures are medians with their spread, ratios are taken within a round, and a void run counts for nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from chatmesh.cli.commands.measuring import NAMES
from chatmesh.errors import ConfigError
from chatmesh.operate.bench import compare, tables
from chatmesh.operate.bench.quantiles import curve, median, quantile
from chatmesh.operate.bench.results import Line
from chatmesh.operate.bench.scenarios import SCENARIOS
from tests.bench.made import both, result, run


def line(found: list[Line], key: str) -> Line:
    return next(each for each in found if each.figure.key == key)


def test_quantiles_lie_between_their_neighbours() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert (quantile(values, 0), median(values), quantile(values, 1)) == (1.0, 2.5, 4.0)
    assert curve(values)[0] == 1.0
    assert curve(values)[100] == 4.0
    assert len(curve(values)) == 101
    assert curve([]) == []
    with pytest.raises(ValueError, match="nothing"):
        median([])


def test_a_figure_is_its_median_with_its_spread() -> None:
    found = result(*both(1, 10, 1), *both(2, 30, 1), *both(3, 20, 1)).lines()
    spread = line(found, "rate").mesh
    assert (spread.median, spread.least, spread.most) == (20, 10, 30)


def test_ratios_are_of_one_round_and_not_of_medians() -> None:
    found = result(*both(1, 20, 10), *both(2, 400, 200), *both(3, 60, 20)).lines()
    ratio = line(found, "rate").ratio
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.most) == (2, 2, 3)


def test_a_void_run_counts_for_nothing() -> None:
    lossy = run(3, "mesh", figures={"rate": 9000.0}, faults={"missing": 1})
    found = result(*both(1, 20, 10), *both(2, 40, 20), run(3, "floor", figures={"rate": 1.0}), lossy)
    assert line(found.lines(), "rate").mesh.most == 40
    assert not found.is_result
    assert tables.verdict(found) == "No result: 1 of 6 runs are void."
    assert tables.voids(found) == ["VOID round 3, burst, mesh: 1 missing"]


def test_a_run_that_failed_is_void_with_its_reason() -> None:
    found = result(run(1, "floor", failure="nobody listens"))
    assert not found.is_result
    assert found.lines() == []
    assert "nobody listens" in tables.voids(found)[0]


@pytest.mark.parametrize(("mesh", "is_met"), [(17.9, False), (18.0, True), (25.0, True)])
def test_a_least_of_the_ratio_is_met_from_its_limit_on(mesh: float, is_met: bool) -> None:
    assert line(result(*both(1, mesh, 10)).lines(), "rate").is_met is is_met


@pytest.mark.parametrize(("mesh", "is_met"), [(16.1, False), (16.0, True), (1.0, True)])
def test_a_most_of_the_ratio_is_met_up_to_its_limit(mesh: float, is_met: bool) -> None:
    found = result(*both(1, mesh, 10, "cpu", "paced")).lines()
    assert line(found, "cpu").is_met is is_met


def test_without_a_floor_a_ratio_is_neither_met_nor_missed() -> None:
    found = result(run(1, "mesh", figures={"rate": 5.0})).lines()
    assert line(found, "rate").ratio is None
    assert line(found, "rate").is_met is None


def test_a_missed_target_is_told_and_fails_nothing() -> None:
    found = result(*both(1, 10, 10))
    assert found.is_result
    assert tables.verdict(found).endswith("1 targets missed.")
    assert tables.rows(found)[0][0][-1] == "missed"


def test_a_busy_client_and_strangers_are_told_of() -> None:
    busy = run(1, "mesh", client_share=0.9, strangers=0.5)
    notes = tables.notes(result(busy, run(1, "floor", client_share=0.5)))
    assert notes[0] == "The client used at most 90% of its core."
    assert notes[1].startswith("round 1, burst, mesh: the client used 90%")
    assert notes[2].startswith("Others used up to 0.50 cores meanwhile, in 1 of 2 runs")


def test_a_saved_result_is_compared_by_its_ratios(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    file.write_bytes(orjson.dumps(result(*both(1, 20, 10)).summary()))
    found = result(*both(1, 33, 11))
    changes = compare.changes(found.lines(), compare.read(file))
    assert changes == {("burst", "rate"): "+50 % × floor"}
    row, _ = tables.rows(found, changes)[0]
    assert "+50 % × floor" in row
    assert len(row) == len(tables.head(has_changes=True))


def test_a_baseline_of_another_question_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    before = result(*both(1, 20, 10))
    file.write_bytes(orjson.dumps(before.summary()))
    saved = compare.read(file)
    assert compare.title(before, saved) == "Beside the result of 2026-11-26T17:00:00+00:00."
    other = replace(before, settings={"rounds": 3, "quick": True})
    assert compare.title(other, saved).endswith("with other settings (quick).")


def test_a_figure_without_a_floor_is_compared_by_its_value(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    file.write_bytes(orjson.dumps(result(run(1, "mesh", "resume", figures={"resume_p50": 8.0})).wire()))
    found = result(run(1, "mesh", "resume", figures={"resume_p50": 6.0}))
    assert compare.changes(found.lines(), compare.read(file)) == {("resume", "resume_p50"): "-25 %"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"began": "now", "figures": [{}]}', b"\xff"])
def test_what_is_no_saved_result_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="no result of `chatmesh bench`"):
        compare.read(file)


def test_every_scenario_is_in_the_help_and_in_the_documents() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert ", ".join(names) == NAMES
    document = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    table = document.split("## Scenarios")[1].split("The figures:")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == names


def test_scenarios_have_names_of_their_own_and_figures_with_keys_of_their_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    for scenario in SCENARIOS:
        keys = [figure.key for figure in scenario.figures]
        assert len(set(keys)) == len(keys), scenario.name
