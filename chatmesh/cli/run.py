"""`chatmesh run`: a pod, a worker, or both."""

from __future__ import annotations

import argparse

from chatmesh.app import Mesh
from chatmesh.cli.process import run_mesh
from chatmesh.cli.settings import load_settings
from chatmesh.cli.several import run_several


def run(namespace: argparse.Namespace) -> int:
    if namespace.processes > 1:
        return run_several(namespace)
    loaded = load_settings(namespace, role=namespace.role, id=namespace.id)
    return run_mesh(Mesh(loaded.config))
