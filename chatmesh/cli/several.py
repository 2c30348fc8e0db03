"""`chatmesh run --processes N`: one process for each core behind one port, and this one, which keeps them running."""

from __future__ import annotations

import argparse
import os
import sys

from chatmesh.app.children import SUBTREE_SECONDS, Root
from chatmesh.app.notifier import Notifier
from chatmesh.cli.named import named
from chatmesh.cli.process import run_tree
from chatmesh.cli.settings import load_settings
from chatmesh.config import Config
from chatmesh.errors import ConfigError, PortInUseError
from chatmesh.kernel import Child
from chatmesh.operate.processes.kept import KeptProcess
from chatmesh.telemetry import configure_logging, get_logger

log = get_logger("app")


def run_several(namespace: argparse.Namespace) -> int:
    """Until a signal drains all of them, at once. Raises what the first one that can't start has ended with."""
    config = load_settings(namespace, role=namespace.role, id=namespace.id).config
    _check(config, namespace.processes)
    name = named(config.process_id, "id")
    configure_logging(level=config.log.level, style=config.log.format, bound={"id": name})
    kept: dict[str, KeptProcess] = {}

    def place(number: int) -> Child:
        own = f"{name}-{number}"

        def make() -> KeptProcess:
            kept[own] = KeptProcess(own, _command(config, own, number), os.environ)
            return kept[own]

        return Child(own, make, drain_seconds=_drain_seconds(config))

    def drain() -> None:
        """All at once: one after the other would take N times as long."""
        if notifier is not None:
            notifier.stopping()
        for process in kept.values():
            process.drain()

    def started() -> None:
        log.info("app.all_ready", processes=namespace.processes, port=config.http.port)
        if notifier is not None:
            notifier.ready()

    notifier = Notifier.of(os.environ)
    children = [place(number) for number in range(1, namespace.processes + 1)]
    if notifier is not None:
        children.insert(0, Child("systemd", lambda: notifier))
    return run_tree(Root(children, on_drain=drain), started)


def _check(config: Config, processes: int) -> None:
    if config.nats.embedded:
        raise ConfigError(
            "nats.embedded has one process",
            where="nats.embedded",
            mend="Give --processes a broker of its own.",
        )
    if not config.serves_http:
        return
    if not config.http.port:
        raise ConfigError(
            "several processes share one port, so it can't be any free one",
            where="http.port",
            mend="Choose one with `--set http.port=…`.",
        )
    if config.http.port + processes > 65_535:
        raise PortInUseError(
            f"there are no {processes} ports behind it",
            where=f"http.port {config.http.port}",
            mend="Choose a lower one.",
        )


def _command(config: Config, own: str, number: int) -> list[str]:
    """As we were called, with what is its own behind: the last one counts."""
    command = [sys.executable, "-m", "chatmesh", *sys.argv[1:], "--processes", "1", "--id", own]
    if config.serves_http:
        command += ["--set", "http.share_port=true", "--set", f"http.own_port={config.http.port + number}"]
    return command


def _drain_seconds(config: Config) -> float:
    """More than it takes by its own settings: it is killed then."""
    http = config.http
    return config.worker.drain_seconds + http.drain_wait_seconds + http.shutdown_seconds + 3 * SUBTREE_SECONDS
