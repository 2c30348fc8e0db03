"""A few lines on stderr that take the place of those before."""

from __future__ import annotations

import sys
from collections.abc import Sequence


class Redrawn:
    """On a terminal."""

    def __init__(self) -> None:
        self._lines = 0

    def draw(self, lines: Sequence[str]) -> None:
        self.clear()
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
        self._lines = len(lines)

    def clear(self) -> None:
        """Takes back what was drawn."""
        if self._lines:
            sys.stderr.write(f"\x1b[{self._lines}A\x1b[J")
            self._lines = 0
