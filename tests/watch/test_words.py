"""Numbers and times are short, and text from outside is harmless."""

from __future__ import annotations

import pytest

from chatmesh.cli.watch import words


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (200, "3 min"), (7200, "2 h"), (4 * 86400, "4 d")],
)
def test_time_that_has_passed(seconds: float, told: str) -> None:
    assert words.ago(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (268_435_456, "268.4 MB"), (1e16, "10000.0 TB")],
)
def test_sizes(count: float, told: str) -> None:
    assert words.size(count) == told


def test_share_of_what_has_no_limit_is_unknown() -> None:
    assert (words.share(0.125), words.share(None)) == ("12.5 %", "-")


def test_text_is_cut_and_escaped() -> None:
    assert words.short("abc", 3) == "abc"
    assert words.short("abcd", 3) == "ab…"
    assert words.short("\x1b[2J", 20) == "\\x1b[2J"
    assert len(words.short("\x1b" * 100, 10)) == 10


def test_one_is_no_plural() -> None:
    assert [words.count(number, "pod") for number in (0, 1, 1200)] == ["0 pods", "1 pod", "1,200 pods"]
