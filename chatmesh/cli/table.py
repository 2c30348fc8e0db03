"""Rows for people: aligned columns, colour on a terminal only and never against NO_COLOR."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_CODES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}


def has_colour() -> bool:
    """Whether stdout is a terminal whose user wants colour (https://no-color.org: any value but the empty one says no)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str) -> str:
    """`text` in a colour, or bold, where colour is wanted; as it is where the colour is ""."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour and has_colour() else text


def plain(text: str) -> str:
    """`text` from outside, with everything escaped that a terminal would take for an order."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def render(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str]) -> str:
    """Columns as wide as their widest cell; the last cell of each row is in that row's colour."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [painted("  ".join(_padded(head, widths)).rstrip(), "bold")]
    for row, colour in zip(rows, colours, strict=True):
        *cells, last = _padded(row, widths)
        lines.append("  ".join([*cells, painted(last.rstrip(), colour)]))
    return "\n".join(lines)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
