"""The command line. stdout is data, logs are on stderr; every error says what, where and what to do.

Commands import what they need when they run, so that `--help` costs nothing.
"""

from chatmesh.cli.main import main

__all__ = ["main"]
