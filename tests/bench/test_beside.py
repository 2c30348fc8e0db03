"""Figures of other systems, beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from chatmesh.errors import ConfigError
from chatmesh.operate.bench import beside, tables
from chatmesh.operate.bench.report import page
from tests.bench.made import both, result

RATE = {"name": "one <b>", "scenario": "burst", "metric": "rate", "value": 40_000, "spread": [39_000, 41_000]}
CPU = {"name": "other", "scenario": "burst", "metric": "cpu", "value": 21.5}


def written(folder: Path, entries: Any) -> Path:
    file = folder / "beside.json"
    file.write_bytes(orjson.dumps(entries))
    return file


def test_each_has_a_column_between_ours_and_the_target(tmp_path: Path) -> None:
    others = beside.read(written(tmp_path, [RATE, CPU]))
    found = result(*both(1, 20, 10))
    head = tables.head(has_changes=True, others=others)
    assert head[-5:] == ("ONE <B>", "OTHER", "TARGET", "BASELINE", "")
    cells, is_met = tables.rows(found, {}, others)[0]
    assert len(cells) == len(head)
    assert cells[-5:-2] == ("40,000 (39,000–41,000)", "", "≥ 1.80 × floor")
    assert is_met is True


def test_they_stand_in_the_page_and_are_no_markup_there(tmp_path: Path) -> None:
    text = page(result(*both(1, 20, 10)), None, beside.read(written(tmp_path, [RATE])))
    assert "<th>one &lt;b&gt;</th>" in text
    assert "40,000 (39,000–41,000)" in text


def test_they_stand_in_the_json_at_their_figure(tmp_path: Path) -> None:
    others = beside.read(written(tmp_path, [RATE, CPU]))
    assert beside.wire(others, "burst", "rate") == {
        "one <b>": {"median": 40_000, "least": 39_000, "most": 41_000}
    }
    assert beside.wire(others, "burst", "cpu") == {"other": {"median": 21.5, "least": 21.5, "most": 21.5}}
    assert beside.wire(others, "burst", "first_p50") == {}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"name": "one"}, "no list of figures"),
        ([RATE, "moon"], "no figure of a system"),
        ([{**RATE, "scenario": "moon"}], "there is no scenario moon"),
        ([{**RATE, "metric": "moon"}], "burst has no metric moon"),
        ([{**RATE, "value": "fast"}], "no figure of a system"),
        ([{**RATE, "value": None}], "no figure of a system"),
        ([{**RATE, "spread": [2, 1]}], "no figure of a system"),
        ([{**RATE, "spread": [1]}], "no figure of a system"),
        ([{**RATE, "name": ""}], "no figure of a system"),
        ([RATE, RATE], "is there twice"),
    ],
)
def test_what_is_no_such_file_is_refused_and_the_place_is_said(
    tmp_path: Path, entries: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        beside.read(written(tmp_path, entries))
    assert "beside.json" in str(refused.value)


def test_no_json_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("name,value")
    with pytest.raises(ConfigError, match="no JSON"):
        beside.read(tmp_path / "text.json")
    with pytest.raises(ConfigError, match="can't be read"):
        beside.read(tmp_path / "gone.json")
