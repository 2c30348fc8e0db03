"""The result as one HTML page: nothing is fetched from anywhere, and it is readable by day and by night. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from chatmesh.operate.bench import svg, tables
from chatmesh.operate.bench.beside import Others
from chatmesh.operate.bench.compare import Key
from chatmesh.operate.bench.measured import BLOCKS, RESIDENT, Run
from chatmesh.operate.bench.results import Line, Result
from chatmesh.operate.bench.scenarios import BY_NAME

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5c6675; --paper: #fff; --line: #d9dee6; --good: #2b8a57;
  --bad: #c2432f; --mesh: #2563c9; --floor: #8a8f98; --p0: #2563c9; --p1: #d98324; --p2: #2b8a57; --p3: #8a8f98; --p4: #8b5cc7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b5; --paper: #14181f; --line: #333b47;
  --good: #4fbf83; --bad: #ef7b67; --mesh: #6ea1f5; --floor: #9aa0aa; --p0: #6ea1f5; --p1: #eba85a; --p2: #4fbf83;
  --p3: #9aa0aa; --p4: #b391e6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 74rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th, .soft { color: var(--soft); font-weight: normal; }
.met { color: var(--good); } .missed { color: var(--bad); } .void { color: var(--bad); font-weight: 600; }
svg { width: 100%; max-width: 46rem; display: block; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .small { font-size: 11px; fill: var(--soft); } svg .good { fill: var(--good); } svg .bad { fill: var(--bad); }
svg .spread { stroke: var(--ink); stroke-width: 2; } svg .mark { stroke: var(--ink); stroke-dasharray: 3 3; }
svg .grid { stroke: var(--line); } svg .line { fill: none; stroke-width: 1.6; } svg .mesh { stroke: var(--mesh); }
svg .floor { stroke: var(--floor); } .key-mesh { color: var(--mesh); } .key-floor { color: var(--floor); }
svg .part0 { fill: var(--p0); } svg .part1 { fill: var(--p1); } svg .part2 { fill: var(--p2); } svg .part3 { fill: var(--p3); }
svg .part4 { fill: var(--p4); } svg .course0 { stroke: var(--p0); } svg .course1 { stroke: var(--p1); }
svg .course2 { stroke: var(--p2); } svg .course3 { stroke: var(--p3); } svg .course4 { stroke: var(--p4); }
"""

CURVES = {
    "first": "Time to the first token",
    "delay": "Added delay of a token",
    "resume": "Coming back, one after the other",
    "storm": "Coming back, all at once",
    "silence": "Silence of those who were hit",
    "stop": "From the stop to the final chunk",
}


def page(result: Result, changes: Mapping[Key, str] | None = None, others: Others = tables.NOBODY) -> str:
    """A whole document."""
    lines = result.lines()
    names = list(dict.fromkeys(run.scenario for run in result.runs))
    body = [
        "<h1>chatmesh bench</h1>",
        f"<p>{escape(tables.verdict(result))}</p>",
        f'<p class="soft">{escape(_where(result))}</p>',
        *(f'<p class="void">{escape(note)}</p>' for note in tables.voids(result)),
        *(f"<p>{escape(note)}</p>" for note in tables.notes(result)),
        "<h2>Figures</h2>",
        _table(result, changes, others),
        *_targets(lines),
        *_costs(result),
        *(part for name in names for part in _scenario(result, name)),
        "<h2>Runs</h2>",
        _runs(result.runs),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>chatmesh bench</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _where(result: Result) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    asked = ", ".join(f"{name} {value}" for name, value in result.settings.items() if value)
    return f"{result.began}, chatmesh {result.version}. {machine}. {asked}."


def _table(result: Result, changes: Mapping[Key, str] | None, others: Others) -> str:
    names = tables.head(has_changes=changes is not None, others=others)
    head = "".join(f"<th>{escape(name.lower())}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(_cell(cell, is_last=cell is cells[-1]) for cell in cells) + "</tr>"
        for cells, _ in tables.rows(result, changes, others)
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(text: str, *, is_last: bool) -> str:
    kind = f' class="{text}"' if is_last and text else ""
    return f"<td{kind}>{escape(text)}</td>"


def _targets(lines: Sequence[Line]) -> list[str]:
    bars = [bar for bar in map(_bar, lines) if bar is not None]
    if not bars:
        return []
    told = "Shorter is better; the dark line is the spread over rounds."
    return ["<h2>How much of each target is used</h2>", f'<p class="soft">{told}</p>', svg.targets(bars)]


def _bar(line: Line) -> svg.Bar | None:
    figure, found = line.figure, line.ratio if line.figure.is_ratio else line.mesh
    if figure.target is None or found is None:
        return None
    ends = [
        _used(value, figure.target, is_more_better=figure.is_more_better)
        for value in (found.least, found.most)
    ]
    unit = "× floor" if figure.is_ratio else figure.unit
    return svg.Bar(
        f"{line.scenario}: {figure.title}",
        _used(found.median, figure.target, is_more_better=figure.is_more_better),
        min(ends),
        max(ends),
        f"{tables.number(found.median)} {unit}",
        line.is_met is True,
    )


def _used(value: float, target: float, *, is_more_better: bool) -> float:
    """1 where the target is just reached, more where it is missed."""
    above, below = (target, value) if is_more_better else (value, target)
    return above / below if below > 0 else 0.0


def _costs(result: Result) -> list[str]:
    rows = [(f"{name}, {side}", parts) for name, side, parts in result.costs()]
    return ["<h2>CPU for a token, by process</h2>", svg.stacks(rows, "µs")] if rows else []


def _scenario(result: Result, name: str) -> list[str]:
    runs = [run for run in result.runs if run.scenario == name and run.is_result]
    plots = []
    for key, title in CURVES.items():
        curves = [(run.side, run.curves[key]) for run in runs if key in run.curves]
        if curves:
            sides = " ".join(
                f'<span class="key-{side}">— {side}</span>' for side in dict.fromkeys(s for s, _ in curves)
            )
            plots += [
                f"<p>{escape(title)}: share of all below a time. {sides}</p>",
                svg.distributions(curves, "ms"),
            ]
    plots += [plot for run in runs if run.samples for plot in _growth(run)]
    plots += _steps([run for run in runs if run.steps])
    return [f"<h2>{escape(name)}: {escape(BY_NAME[name].title)}</h2>", *plots] if plots else []


def _growth(run: Run) -> list[str]:
    """Memory over time beside its beginning, each role in a plot of its own: a broker's hides what a pod keeps."""
    first, minutes = run.samples[0], [sample["minutes"] for sample in run.samples]
    roles = [name for name in first if name != "minutes" and not name.endswith((RESIDENT, BLOCKS))]
    told = "Memory of its own that each role has more than at the beginning; slopes are those behind the broken line."
    plots = [
        svg.courses(
            minutes, {role: [(sample[role] - first[role]) / 1024 for sample in run.samples]}, "MiB", "min"
        )
        for role in roles
    ]
    return [f"<p>{told}</p>", *plots]


def _steps(runs: Sequence[Run]) -> list[str]:
    """What was counted at each size."""
    if not runs:
        return []
    keys = list(dict.fromkeys(key for run in runs for step in run.steps for key in step))
    cells = [
        (str(run.round), run.side, *(f"{step[key]:,.5g}" if key in step else "" for key in keys))
        for run in runs
        for step in run.steps
    ]
    return [_plain_table(("round", "side", *keys), cells)]


def _runs(runs: Sequence[Run]) -> str:
    head = [
        "round",
        "scenario",
        "side",
        "chunks",
        "seconds",
        "client's CPU",
        "others' cores",
        "memory MiB",
        "",
    ]
    return _plain_table(head, list(map(_run, runs)))


def _plain_table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><tr>{names}</tr>{rows}</table></div>'


def _run(run: Run) -> tuple[str, ...]:
    return (
        str(run.round),
        run.scenario,
        run.side,
        f"{run.chunks:,}",
        f"{run.wall_seconds:.1f}",
        f"{run.client_share:.0%}",
        f"{run.strangers:.2f}",
        ", ".join(f"{role} {kib / 1024:.0f}" for role, kib in run.memory.items()),
        "" if run.is_result else "void",
    )
