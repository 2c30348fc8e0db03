"""What all of the parser's parts have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

Command = Callable[[argparse.Namespace], int]

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name for it
else:
    Commands = argparse._SubParsersAction  # noqa: SLF001 - the same


def lazy(module: str, name: str) -> Command:
    """The function `name` of `module`, imported when it is called, so that `--help` costs nothing."""

    def command(namespace: argparse.Namespace) -> int:
        run: Command = getattr(import_module(module), name)
        return run(namespace)

    return command


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML file (or $CHATMESH_CONFIG)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="one setting, over file and environment; may be given often",
    )


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"seconds above 0 are expected, got {text}")
    return number


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is expected, got {number}")
    return number
