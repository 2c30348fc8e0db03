"""The page: whole without anything from elsewhere, and nothing in it is taken for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from chatmesh.cli.bench_view import lines, view
from chatmesh.operate.bench import Progress
from chatmesh.operate.bench.report import page
from tests.bench.made import both, result, run

VOID = {"meta", "br", "img", "link", "input"}


class Tags(HTMLParser):
    """Which tags there are, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        self.seen.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[Any]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    return tags


def full() -> str:
    curve = [float(share + 1) for share in range(101)]
    cpu = {"pod": 0.1, "worker": 0.2, "broker": 0.1}
    runs = both(1, 30, 10)
    for each in runs:
        each.curves = {"first": curve}
        each.cpu = cpu if each.side == "mesh" else {"floor": 0.2}
        each.chunks = 1000
    idle = run(1, "mesh", "idle", figures={"kib": 2.0}, steps=[{"size": 10.0, "kib": 2.0}])
    return page(result(*runs, idle), {("burst", "rate"): "+5 %"})


def test_it_is_well_formed_and_loads_nothing() -> None:
    tags = parsed(full())
    assert tags.open == []
    assert tags.loads == []
    assert "script" not in tags.seen
    assert not re.search(r"url\(|@import|https?:", full())


def test_it_has_the_figures_their_targets_and_plots() -> None:
    text = full()
    assert parsed(text).seen.count("svg") == 3  # targets, CPU by process, first token
    for said in ("tokens a second", "≥ 1.80 × floor", "+5 %", "worker", "none missing"):
        assert said in text
    assert "prefers-color-scheme: dark" in text


def test_memory_over_time_is_drawn_for_each_role() -> None:
    samples = [
        {"minutes": at / 4, "pod": 60_000.0 + 900 * at, "worker": 55_000.0, "pod, resident": 90_000.0}
        for at in range(20)
    ]
    text = page(result(run(1, "mesh", "soak", figures={"pod_slope": 3600.0}, samples=samples)))
    assert parsed(text).open == []
    assert text.count('class="line course') == 2
    assert "16.7 MiB" in text
    assert "4.8 min" in text


def test_a_result_without_figures_is_a_page_too() -> None:
    text = page(result(run(1, "floor", failure="<b>nobody & nothing</b>")))
    assert parsed(text).open == []
    assert "&lt;b&gt;nobody &amp; nothing&lt;/b&gt;" in text


def test_what_is_seen_meanwhile() -> None:
    over = both(1, 30, 10)
    now = run(2, "mesh", "paced")
    shown = lines(Progress(3, 4, now, "measuring", 50, 200, over), 60.0)
    assert shown[0].startswith("run 3 of 4  ")
    assert shown[0].endswith("1:00, about 1:00 to go")
    assert shown[1] == "round 2, paced, mesh: measuring 50 of 200"
    assert "tokens a second 30.0 1/s" in shown[3]


def test_a_void_run_is_seen_meanwhile() -> None:
    lossy = run(1, "mesh", faults={"missing": 3})
    shown = lines(Progress(2, 2, run(1, "floor"), "starting", 0, 0, [lossy]), 1.0)
    assert shown[2].endswith("VOID")


def test_on_a_terminal_it_is_redrawn_in_its_place_and_elsewhere_nothing_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(1, 2, run(1, "floor"), "measuring", 1, 50, [])
    with view() as tell:
        tell(progress)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with view() as tell:
        tell(progress)
        tell(progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("run 1 of 2") == 2
    assert err.endswith("\x1b[2A\x1b[J")
