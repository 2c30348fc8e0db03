"""Free ports for several processes at once."""

from __future__ import annotations

from chatmesh.devbroker.ports import free_port


def distinct_ports(count: int, *, in_a_row: int = 1) -> list[int]:
    """Ports on loopback: each is free at this moment, as are the next ones up to `in_a_row`, and no two have one in common."""
    ports: list[int] = []
    while len(ports) < count:
        port = free_port(in_a_row)
        if all(abs(port - other) >= in_a_row for other in ports):
            ports.append(port)
    return ports
