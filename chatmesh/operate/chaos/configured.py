"""What the pods and workers of a run are told beside their addresses. Pure: values in, a command out."""

from __future__ import annotations

from collections.abc import Sequence

from chatmesh.operate.processes import node_command

ACK_WAIT_SECONDS = 2.0
"""Shorter than the default, so that a run sees more takeovers; longer than a busy machine makes a process pause."""

KEEPALIVE_SECONDS = 1.0
"""So that a reader notices a frozen pod within three seconds."""


def node(
    role: str, name: str, *, servers: Sequence[str], port: int, replicas: int, is_fenced: bool
) -> list[str]:
    """A pod or worker. Attempts are not counted: a run kills more workers than any message has a right to."""
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
    return node_command(role, name, settings)
