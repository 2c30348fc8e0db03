"""What processes of our own are told: the servers' files, the nodes' arguments, their environment. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chatmesh.devbroker.configuration import quoted


def server_file(
    name: str, port: int, monitor_port: int, store: Path, route: int = 0, routes: Sequence[int] = ()
) -> str:
    """One server's. `routes` are those of all servers; one alone has no cluster. Only the sum of the streams' limits
    counts against `max_file_store`, not what they hold."""
    others = ", ".join(f"nats://127.0.0.1:{port}" for port in routes if port != route)
    cluster = f"cluster {{ name: ours, listen: 127.0.0.1:{route}, routes: [{others}] }}\n"
    return f"""\
server_name: {quoted(name)}
host: 127.0.0.1
port: {port}
http: "127.0.0.1:{monitor_port}"
jetstream {{ store_dir: {quoted(str(store))}, max_memory_store: 64MB, max_file_store: 64GB }}
{cluster if len(routes) > 1 else ""}"""


def node_command(role: str, name: str, settings: Mapping[str, object]) -> list[str]:
    """A pod or a worker of this very program; `settings` by their dotted keys."""
    command = [sys.executable, "-m", "chatmesh", "run", "--role", role, "--id", name]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Ours, but for what somebody has set for a chatmesh of their own."""
    return {name: value for name, value in inherited.items() if not name.startswith("CHATMESH_")}
