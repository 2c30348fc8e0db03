"""Numbers and times in few letters."""

from __future__ import annotations

from chatmesh.cli import table

_UNITS = ("B", "kB", "MB", "GB", "TB")


def ago(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h`, `5 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def size(count: float) -> str:
    """`300 B`, `1.2 MB`."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def share(ratio: float | None) -> str:
    """`12.5 %`; `-` where there is no limit."""
    return "-" if ratio is None else f"{100 * ratio:.1f} %"


def short(text: str, width: int) -> str:
    """Text from outside, at most so long, with nothing in it that a terminal would take for an order."""
    shown = table.plain(text[: width + 1])
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def count(number: int, what: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
