"""What is typed, and what is told: pure.

In: lines of a person, pieces of an answer. Out: commands, messages, lines to show, the object that `--json` prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from chatmesh.client import Answer
from chatmesh.errors import ConfigError, UnansweredError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

MEASURABLE_SECONDS = 0.2
"""An answer that came all at once has no pace."""

CALL_WIDTH = 100

COMMANDS = {
    "help": "this list",
    "new": "begin a new session",
    "session": "where you are, and how to come back",
    "history": "what was said in this session",
    "model": "NAME: ask this model from now on; without a name, which one it is",
    "models": "what is served",
    "stop": "stop what is being answered in this session",
    "quit": "leave; so do Ctrl-D and Ctrl-C",
}


@dataclass(frozen=True, slots=True)
class Order:
    """A line that is for us: `/name argument`."""

    name: str
    argument: str


def understood(line: str) -> Order | str:
    """An order, or a message. `//` at the beginning says `/` to the model. Raises ConfigError where nobody knows the order."""
    text = line.strip()
    if text.startswith("//"):
        return text[1:]
    if not text.startswith("/"):
        return text
    name, _, argument = text[1:].partition(" ")
    if name not in COMMANDS:
        raise ConfigError(
            f"there is no /{safe(name)}",
            mend=f"There are {', '.join(f'/{known}' for known in COMMANDS)}; // begins a message with /.",
        )
    return Order(name, argument.strip())


def composed(argument: str | None, piped: str | None) -> str:
    """The message of `send`: its argument, a blank line, what came through a pipe; either may be missing. `-` is no
    argument. Raises ConfigError where nothing is said."""
    said = "" if argument in (None, "-") else str(argument)
    parts = [part for part in (said, (piped or "").rstrip("\r\n")) if part.strip()]
    if not parts:
        raise ConfigError(
            "there is no message", mend='Say `chatmesh send "…"`, or pipe text into `chatmesh send`.'
        )
    return "\n\n".join(parts)


def safe(text: str) -> str:
    """`text` from outside, for a terminal: what a terminal takes for an order is escaped, lines and tabs stay."""
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return "" if found[0] == "\r" else f"\\x{ord(found[0]):02x}"


def result(answer: Answer, *, reconnects: int, error: UnansweredError | None) -> dict[str, Any]:
    """What `--json` prints. `usage` is what the provider counted, null where it did not."""
    return {
        "session_id": answer.session_id,
        "message_id": answer.message_id,
        "content": answer.text,
        "finish_reason": answer.finish_reason,
        "usage": answer.metadata.get("usage"),
        "metadata": answer.metadata,
        "digest": answer.digest if answer.finish_reason is not None else None,
        "reconnects": reconnects,
        "error": None if error is None else {"code": error.code, "message": str(error)},
    }


def summary(answer: Answer, *, first_seconds: float | None, seconds: float) -> str:
    """The line below an answer: tokens, seconds to the first one (None where nobody waited for it), the pace of those
    behind it over `seconds`, model."""
    tokens = answer.tokens
    parts = [counted(tokens)]
    if first_seconds is not None:
        parts.append(f"first after {first_seconds:.1f} s")
        if tokens > 1 and seconds >= MEASURABLE_SECONDS:
            parts.append(f"{(tokens - 1) / seconds:.0f} tokens/s")
    if answer.metadata.get("model"):
        parts.append(safe(str(answer.metadata["model"])))
    if answer.finish_reason not in (None, "stop", "tool_calls"):
        parts.append(
            {"cancelled": "stopped", "length": "cut at its length"}.get(*[str(answer.finish_reason)] * 2)
        )
    return " · ".join(parts)


def counted(tokens: int) -> str:
    return f"{tokens} token{'' if tokens == 1 else 's'}"


def called(name: str, arguments: str) -> str:
    """A tool call, on one line of at most `CALL_WIDTH` letters."""
    line = "→ " + " ".join(safe(f"{name}({arguments})").split())
    return line if len(line) <= CALL_WIDTH else f"{line[: CALL_WIDTH - 1]}…"
