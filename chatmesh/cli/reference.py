"""Writes docs/cli.md anew: `python -m chatmesh.cli.reference [FILE]`. Every command and option, out of the parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from chatmesh.cli.commands import parser

HEAD = """\
# The command line

Every command with its arguments, as `--help` shows them. This page is made of the parser (`python -m chatmesh.cli.reference`).
What the commands are for: [operations](operations.md), [chat](chat.md), [sealing](sealing.md), [security](security.md),
[chaos](chaos.md), [performance](performance.md). `-c` and `--set` are explained in [configuration](configuration.md#where-values-come-from), and what an exit code means in
[operations](operations.md#exit-codes).
"""


def render() -> str:
    """The page."""
    top = parser()
    commands = list(_commands(top))
    rows = "".join(f"| [{name}](#{_anchor(name)}) | {_cell(text)} |\n" for name, text, _ in commands)
    sections = "".join(_section(name, text, each) for name, text, each in commands)
    return f"{HEAD}\n| | |\n|---|---|\n{rows}\n{_epilog(top)}{sections}"


def _commands(
    above: argparse.ArgumentParser, name: str = "chatmesh"
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, help and parser of each command that can be run, those of commands in commands too."""
    for action in above._actions:  # noqa: SLF001 - argparse shows its arguments in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            told = {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001 - the same
            for word, below in action.choices.items():
                inner = list(_commands(below, f"{name} {word}"))
                yield from inner or [(f"{name} {word}", told.get(word, ""), below)]


def _section(name: str, text: str, command: argparse.ArgumentParser) -> str:
    rows = "".join(
        f"| {_call(action)} | {_cell(action.help or '')} |\n"
        for action in command._actions  # noqa: SLF001 - the same
        if not isinstance(action, argparse._HelpAction)  # noqa: SLF001 - the same
    )
    table = f"| | |\n|---|---|\n{rows}" if rows else "It takes nothing.\n"
    return f"\n## {name}\n\n{_sentence(command.description or text)}\n\n{table}"


def _call(action: argparse.Action) -> str:
    """How it is written, as code."""
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    value = str(value or ("" if action.nargs == 0 else action.dest.upper()))
    if not action.option_strings:
        return _code(f"[{value}]" if action.nargs in {"?", "*"} else value)
    takes = "" if action.nargs == 0 else f" {value}"
    return ", ".join(_code(option + takes) for option in action.option_strings)


def _epilog(top: argparse.ArgumentParser) -> str:
    """Examples and exit codes, as they stand below `chatmesh --help`."""
    examples, _, codes = (top.epilog or "").partition("exit codes: ")
    lines = [line.strip() for line in examples.splitlines()[1:] if line.strip()]
    told = " · ".join(line.strip() for line in codes.splitlines() if line.strip())
    return "## Examples\n\n```sh\n" + "\n".join(map(_commented, lines)) + f"\n```\n\nExit codes: {told}.\n"


def _commented(line: str) -> str:
    """What stands far behind a command is a comment."""
    command, gap, comment = line.partition("  ")
    return f"{command}  # {comment.strip()}" if gap else command


def _sentence(text: str) -> str:
    whole = " ".join(text.split())
    whole = whole[:1].upper() + whole[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return " ".join(text.replace("%%", "%").split()).replace("|", "\\|").replace("<", "&lt;")


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def main(arguments: list[str]) -> int:
    """Right at the root of the project without a file."""
    Path(arguments[0] if arguments else "docs/cli.md").write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
