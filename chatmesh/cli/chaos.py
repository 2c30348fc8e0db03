"""`chatmesh chaos`: breaks a mesh of its own and says whether every promise held. The report is on stdout."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import orjson

from chatmesh.cli import table
from chatmesh.cli.chaos_view import view
from chatmesh.cli.folders import empty_folder
from chatmesh.cli.process import run_loop
from chatmesh.errors import ChatmeshError, ConfigError, Exit
from chatmesh.operate.chaos import Fault, Report, Settings, Size, details, rows, run, verdict
from chatmesh.telemetry import configure_logging


def chaos(namespace: argparse.Namespace) -> int:
    settings = _settings(namespace)
    configure_logging(level="error", style="auto")  # the observer's; the processes have logs of their own
    folder = empty_folder(namespace.keep, "chaos")
    reports: list[Report] = []

    async def main() -> int:
        # SIGTERM as Ctrl-C: every process is ended before this one.
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with view(settings.seconds) as tell:
            reports.append(await run(settings, folder, tell))
        return Exit.OK

    is_kept = namespace.keep is not None
    print(f"seed {settings.seed}, in {folder}", file=sys.stderr)
    try:
        with suppress(asyncio.CancelledError):
            run_loop(main())
        if not reports:
            return Exit.FAILED
        is_kept = is_kept or not reports[0].holds
        _tell(reports[0], namespace, folder if is_kept else None)
    except ChatmeshError:
        is_kept = True  # the logs say more
        raise
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    return Exit.OK if reports[0].holds else Exit.FAILED


def faults(text: str) -> list[Fault]:
    """`worker-kill,pod-term` as argparse wants it."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Fault)]
    if unknown or not names:
        known = ", ".join(Fault)
        raise argparse.ArgumentTypeError(f"expected some of {known}; got {', '.join(unknown) or 'none'}")
    return [Fault(name) for name in dict.fromkeys(names)]


def _settings(namespace: argparse.Namespace) -> Settings:
    size = Size(namespace.pods, namespace.workers, namespace.servers)
    for name, value in (
        ("--pods", size.pods),
        ("--workers", size.workers),
        ("--sessions", namespace.sessions),
    ):
        if not 1 <= value <= 200:
            raise ConfigError(f"{name} expects a number from 1 to 200, got {value}")
    if not 1 <= namespace.seconds <= 86_400:
        raise ConfigError(f"--seconds expects a number from 1 to 86400, got {namespace.seconds:g}")
    if namespace.unfenced and size.workers < 2:
        raise ConfigError("--unfenced needs two workers: one that freezes, and one that takes over")
    seed = secrets.randbelow(1_000_000) if namespace.seed is None else namespace.seed
    return Settings(
        seed, namespace.seconds, size, namespace.sessions, namespace.faults, is_fenced=not namespace.unfenced
    )


def _tell(report: Report, namespace: argparse.Namespace, kept: Path | None) -> None:
    found = rows(report)
    colours = ["green" if is_good else "red" for _, _, is_good in found]
    print(table.render(("CHAOS", ""), [(name, value) for name, value, _ in found], colours))
    print()
    for line in details(report):
        print(line)
    print(verdict(report))
    if kept is not None:
        print(f"Logs and stores are in {kept}.")
    if namespace.json is not None:
        namespace.json.write_bytes(orjson.dumps(report.wire(), option=orjson.OPT_INDENT_2) + b"\n")
