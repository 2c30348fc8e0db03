"""What the processes of a run are told: the servers' files and the nodes' arguments. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chatmesh.devbroker.configuration import quoted

ACK_WAIT_SECONDS = 2.0
"""Shorter than the default, so that a run sees more takeovers; longer than a busy machine makes a process pause."""

KEEPALIVE_SECONDS = 1.0
"""So that a reader notices a frozen pod within three seconds."""


def server_file(
    name: str, port: int, monitor_port: int, store: Path, route: int, routes: Sequence[int]
) -> str:
    """One server's. `routes` are those of all servers; one alone has no cluster. Only the sum of the streams' limits
    counts against `max_file_store`, not what they hold."""
    others = ", ".join(f"nats://127.0.0.1:{port}" for port in routes if port != route)
    cluster = f"cluster {{ name: chaos, listen: 127.0.0.1:{route}, routes: [{others}] }}\n"
    return f"""\
server_name: {quoted(name)}
host: 127.0.0.1
port: {port}
http: "127.0.0.1:{monitor_port}"
jetstream {{ store_dir: {quoted(str(store))}, max_memory_store: 64MB, max_file_store: 64GB }}
{cluster if len(routes) > 1 else ""}"""


def node_arguments(
    role: str, name: str, *, servers: Sequence[str], port: int, replicas: int, is_fenced: bool
) -> list[str]:
    """Behind `chatmesh`. Attempts are not counted: a run kills more workers than any message has a right to."""
    settings: dict[str, object] = {
        "nats.servers": ",".join(servers),
        "nats.connect_seconds": 60,
        "nats.reconnect_wait_seconds": 0.5,
        "streams.replicas": replicas,
        "http.port": port,
        "http.shutdown_seconds": 3,
        "sse.keepalive_seconds": KEEPALIVE_SECONDS,
        "heartbeat.interval_seconds": 1,
        "worker.ack_wait_seconds": ACK_WAIT_SECONDS,
        "worker.max_attempts": 1000,
        "worker.drain_seconds": 1,
        "log.level": "info",
        "log.format": "json",
    }
    if not is_fenced:
        settings["worker.fenced"] = "false"
    arguments = ["run", "--role", role, "--id", name]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    return arguments


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Ours, but for what somebody has set for a chatmesh of their own."""
    return {name: value for name, value in inherited.items() if not name.startswith("CHATMESH_")}
