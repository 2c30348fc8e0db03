"""The way into the command: a look at what is installed, then `chatmesh.cli`.

A package of its own, since PyPI's other `chatmesh`, installed after ours, overwrites `chatmesh/__init__.py`, and what
would warn of it in there never runs. Nothing of `chatmesh` is imported before the look is over.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from chatmesh_server.installed import OURS, PACKAGE, others

USAGE = 2
"""`Exit.USAGE`, which can't be imported here."""


def main() -> int:
    """Runs the `chatmesh` command; returns its exit code."""
    if names := " ".join(others()):
        return _refuse(
            f"another distribution provides the Python package {PACKAGE!r} too: {names}",
            f"Run `pip uninstall {names}`, then",
            "one has overwritten files of the other",
        )
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        # As after `pip uninstall chatmesh` alone: its `__init__.py` was in place of ours.
        return _refuse(f"files of {OURS} are missing", "Run", "it puts them back")
    from chatmesh.cli import main as run  # noqa: PLC0415 - see above

    return run()


def _refuse(what: str, first: str, why: str) -> int:
    mend = f"{first} `pip install --force-reinstall --no-deps {OURS}`: {why}."
    print(f"chatmesh: {what}. {mend}", file=sys.stderr)
    return USAGE
