"""The result as rows of text: each figure beside its target. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from chatmesh.operate.bench.beside import Others
from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.results import Line, Result, Spread

HEAD = ("SCENARIO", "FIGURE", "MESH", "SPREAD", "FLOOR", "RATIO", "SPREAD", "TARGET", "")

NOBODY = Others()

SLOPE_KEY = "_slope"
"""Behind a role, the figure that says how fast its memory grows."""

Row = tuple[tuple[str, ...], bool | None]
"""The cells, and whether the target is met; None where there is none."""


def rows(
    result: Result, changes: Mapping[tuple[str, str], str] | None = None, others: Others = NOBODY
) -> list[Row]:
    """One for each figure; a cell for each of the `others` before the target, and with `changes` (by scenario and figure)
    one before the last."""
    return [_row(line, changes, others) for line in result.lines()]


def head(*, has_changes: bool, others: Others = NOBODY) -> tuple[str, ...]:
    changes = ("BASELINE",) if has_changes else ()
    return (*HEAD[:-2], *(name.upper() for name in others.names), HEAD[-2], *changes, HEAD[-1])


def costs(result: Result) -> list[str]:
    """CPU for a token by process, one line for each scenario and side."""
    return [
        f"{name}, {side}: "
        + ", ".join(f"{role} {number(value)}" for role, value in parts.items())
        + " µs a token"
        for name, side, parts in result.costs()
    ]


def voids(result: Result) -> list[str]:
    """The runs that are no result, and why."""
    return [f"VOID {_name(run)}: {_why(run)}" for run in result.void]


def notes(result: Result) -> list[str]:
    """What the client itself took, and what may have disturbed."""
    share = max((run.client_share for run in result.runs), default=0.0)
    lines = [f"The client used at most {share:.0%} of its core."]
    lines += [
        f"{_name(run)}: the client used {run.client_share:.0%} of its core; it may be the limit."
        for run in result.runs
        if run.is_client_bound
    ]
    disturbed = [run for run in result.runs if run.strangers > 0.1]
    lines += growths(result)
    if disturbed:
        most = max(disturbed, key=lambda run: run.strangers)
        lines.append(
            f"Others used up to {most.strangers:.2f} cores meanwhile, in {len(disturbed)} of {len(result.runs)} runs."
        )
    return lines


def growths(result: Result) -> list[str]:
    """Whose memory went up in each quarter of the second half of a run: what leaks does."""
    return [
        f"{_name(run)}: the {key.removesuffix(SLOPE_KEY)}'s memory grew all the time, by {number(run.figures[key])} KiB a minute "
        f"({number(least)}–{number(most)})."
        for run in result.runs
        for key, (least, most) in run.spreads.items()
        if key.endswith(SLOPE_KEY) and least > 0
    ]


def verdict(result: Result) -> str:
    """The last line."""
    void = len(result.void)
    if void:
        return f"No result: {void} of {len(result.runs)} runs are void."
    chunks = sum(run.chunks for run in result.runs)
    missed = [line for line in result.lines() if line.is_met is False]
    lost = f"{chunks:,} chunks: none missing, repeated or out of order. " if chunks else ""
    return f"{lost}{len(missed)} targets missed." if missed else f"{lost}No target missed."


def number(value: float) -> str:
    """Three digits that matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def target(line: Line) -> str:
    """As `≤ 1.60 × floor`."""
    figure = line.figure
    if figure.target is None:
        return ""
    sign = "≥" if figure.is_more_better else "≤"
    return f"{sign} {number(figure.target)} {'× floor' if figure.is_ratio else figure.unit}"


def spread(found: Spread | None) -> str:
    return f"{number(found.least)}–{number(found.most)}" if found else ""


def _row(line: Line, changes: Mapping[tuple[str, str], str] | None, others: Others) -> Row:
    cells = [
        line.scenario,
        line.figure.title,
        f"{number(line.mesh.median)} {line.figure.unit}",
        spread(line.mesh),
        number(line.floor.median) if line.floor else "",
        f"× {number(line.ratio.median)}" if line.ratio else "",
        spread(line.ratio),
        *(_beside(others.of(name, line.scenario, line.figure.key)) for name in others.names),
        target(line),
    ]
    if changes is not None:
        cells.append(changes.get((line.scenario, line.figure.key), ""))
    return (*cells, {True: "met", False: "missed", None: ""}[line.is_met]), line.is_met


def _beside(found: Spread | None) -> str:
    """As `5.20 (5.10–5.40)`."""
    if found is None:
        return ""
    ends = f" ({spread(found)})" if found.least != found.most else ""
    return number(found.median) + ends


def _name(run: Run) -> str:
    return f"round {run.round}, {run.scenario}, {run.side}"


def _why(run: Run) -> str:
    return run.failure or ", ".join(f"{count} {name}" for name, count in run.faults.items())
