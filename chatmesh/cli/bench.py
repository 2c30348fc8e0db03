"""`chatmesh bench`: measures a mesh of its own. The table, or the JSON, is on stdout; how it stands on stderr."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from chatmesh.cli import table
from chatmesh.cli.bench_view import view
from chatmesh.cli.folders import empty_folder
from chatmesh.cli.process import run_loop
from chatmesh.config import load
from chatmesh.errors import ChatmeshError, ConfigError, Exit
from chatmesh.operate.bench import BY_NAME, SCENARIOS, Result, Scenario, Settings, beside, compare, tables
from chatmesh.operate.bench import bench as measure
from chatmesh.operate.bench.report import page
from chatmesh.telemetry import configure_logging


def bench(namespace: argparse.Namespace) -> int:
    settings = _settings(namespace)
    baseline = compare.read(namespace.baseline) if namespace.baseline else None
    others = beside.read(namespace.beside) if namespace.beside else tables.NOBODY
    for file in (namespace.save, namespace.report):
        _check_writable(file)
    configure_logging(level="error", style="auto")
    folder = empty_folder(namespace.keep, "bench")
    is_kept = namespace.keep is not None
    try:
        result = _run(settings, folder)
        is_kept = is_kept or (result is not None and not result.is_result)
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    if result is None:
        return Exit.FAILED
    _tell(result, namespace, baseline, others)
    if is_kept:
        print(f"Logs and stores are in {folder}.", file=sys.stderr if namespace.json else sys.stdout)
    return Exit.OK if result.is_result else Exit.FAILED


def _run(settings: Settings, folder: Path) -> Result | None:
    """None where it was ended before it was done."""
    results: list[Result] = []

    async def main() -> int:
        # SIGTERM as Ctrl-C: every process is ended before this one.
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with view() as tell:
            results.append(await measure(settings, folder, tell))
        return Exit.OK

    with suppress(asyncio.CancelledError):
        run_loop(main())
    return results[0] if results else None


def _settings(namespace: argparse.Namespace) -> Settings:
    return Settings(
        scenarios=_scenarios(namespace.scenarios),
        rounds=namespace.rounds,
        pods=namespace.pods,
        workers=namespace.workers,
        layout=namespace.layout,
        broker=namespace.broker,
        overrides=_overrides(namespace.overrides),
        is_quick=namespace.quick,
        quiet_seconds=namespace.quiet,
        minutes=namespace.minutes,
        processes=namespace.processes,
    )


def _scenarios(names: Sequence[str]) -> list[Scenario]:
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise ConfigError(
            f"there is no scenario {', '.join(unknown)}", mend=f"There are {', '.join(BY_NAME)}."
        )
    return [scenario for scenario in SCENARIOS if scenario.name in names or not (names or scenario.is_long)]


def _overrides(texts: Sequence[str]) -> dict[str, object]:
    """`a.b=c` each. Raises ConfigError where the mesh would not start with them."""
    load(None, environ={}, overrides=texts)
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _check_writable(file: Path | None) -> None:
    """Before minutes of measuring, and not after them."""
    if file is not None and not file.absolute().parent.is_dir():
        raise ConfigError("there is no such folder", where=str(file.parent), mend="Make it first.")


def _tell(
    result: Result, namespace: argparse.Namespace, baseline: compare.Saved | None, others: beside.Others
) -> None:
    changes = compare.changes(result.lines(), baseline) if baseline else None
    _write(namespace.save, _json(result.summary()))
    if namespace.report:
        _write(namespace.report, page(result, changes, others).encode())
    if namespace.json:
        print(_json(_with(result.wire(), others)).decode(), end="")
        return
    if baseline is not None:
        print(compare.title(result, baseline))
    rows = tables.rows(result, changes, others)
    colours = [{True: "green", False: "red", None: ""}[is_met] for _, is_met in rows]
    head = tables.head(has_changes=changes is not None, others=others)
    print(table.render(head, [cells for cells, _ in rows], colours))
    print()
    for line in [
        *tables.costs(result),
        *tables.voids(result),
        *tables.notes(result),
        tables.verdict(result),
    ]:
        print(line)


def _with(body: dict[str, Any], others: beside.Others) -> dict[str, Any]:
    """With the figures of the others at each of ours."""
    for figure in body["figures"] if others.names else ():
        figure["beside"] = beside.wire(others, figure["scenario"], figure["figure"])
    return body


def _json(body: Mapping[str, object]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n"


def _write(file: Path | None, body: bytes) -> None:
    if file is None:
        return
    try:
        file.write_bytes(body)
    except OSError as error:
        raise ChatmeshError(f"can't write there: {error.strerror}", where=str(file)) from error
