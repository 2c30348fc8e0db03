"""Meshes of real processes that `chaos` and `bench` start for themselves: a child on a leash, and what it is told."""

from chatmesh.operate.processes.child import Child
from chatmesh.operate.processes.ports import distinct_ports
from chatmesh.operate.processes.readiness import VARIABLE, Readiness
from chatmesh.operate.processes.told import environment, node_command, server_file

__all__ = ["VARIABLE", "Child", "Readiness", "distinct_ports", "environment", "node_command", "server_file"]
