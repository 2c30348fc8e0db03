"""`chatmesh run`: a pod, a worker, or both."""

from __future__ import annotations

import argparse

from chatmesh.app import Mesh
from chatmesh.cli.process import run_mesh
from chatmesh.cli.settings import load_settings


def run(namespace: argparse.Namespace) -> int:
    loaded = load_settings(namespace, role=namespace.role, id=namespace.id)
    return run_mesh(Mesh(loaded.config))
