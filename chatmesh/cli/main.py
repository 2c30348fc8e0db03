"""`chatmesh`: from arguments to an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chatmesh.cli.commands import parser
from chatmesh.errors import ChatmeshError, Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code and never raises for what a user can cause."""
    namespace = parser().parse_args(arguments)
    try:
        code: int = namespace.command(namespace)
        return code
    except ChatmeshError as error:
        print(f"chatmesh: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return Exit.FAILED
    except BrokenPipeError:
        return Exit.FAILED
