"""What a terminal shows after it was told so: as much of one as the programs of these tests use."""

from __future__ import annotations

import re

_PART = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|([\r\n\b])|([^\x1b])|\x1b")
_BEGUN = re.compile(r"\x1b(\[[?0-9;]*|\][^\x07\x1b]*)?$")
"""Half an order at the end of what was read."""


class Screen:
    """Scrollback and screen as one list of lines. The cursor does not move above the screen, as on a real one."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows = rows
        self._columns = columns
        self._lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self._rest = ""
        self._main: tuple[list[list[str]], int, int] | None = None

    @property
    def text(self) -> str:
        return "\n".join("".join(line).rstrip() for line in self._lines)

    def feed(self, text: str) -> None:
        text, self._rest = self._rest + text, ""
        begun = _BEGUN.search(text)
        if begun is not None:
            text, self._rest = text[: begun.start()], text[begun.start() :]
        for numbers, order, control, letter in _PART.findall(text):
            if letter:
                self._put(letter)
            elif control:
                self._control(control)
            elif order:
                self._order(order, numbers)

    def _put(self, letter: str) -> None:
        if self._column == self._columns:
            self._control("\n")
            self._column = 0
        line = self._lines[self._row]
        line += [" "] * (self._column + 1 - len(line))
        line[self._column] = letter
        self._column += 1

    def _control(self, control: str) -> None:
        if control == "\r":
            self._column = 0
        elif control == "\b":
            self._column = max(0, self._column - 1)
        else:
            self._row += 1
            if self._row == len(self._lines):
                self._lines.append([])

    def _order(self, order: str, numbers: str) -> None:
        number = int(numbers) if numbers.isdigit() else 0
        line = self._lines[self._row]
        match order:
            case "A":
                self._row = max(self._row - max(1, number), len(self._lines) - self._rows, 0)
            case "C":
                self._column = min(self._column + max(1, number), self._columns)
            case "D":
                self._column = max(self._column - max(1, number), 0)
            case "K" if number == 2:
                line.clear()
            case "K" if number == 0:
                del line[self._column :]
            case "J" if number == 0:
                del line[self._column :], self._lines[self._row + 1 :]
            case "H":
                self._row, self._column = max(0, len(self._lines) - self._rows), 0
            case "h" | "l" if numbers == "?1049":
                self._switch(to_other=order == "h")
            case "m" | "h" | "l":
                return
            case _:
                raise AssertionError(f"this terminal does not know ESC [ {numbers} {order}")

    def _switch(self, *, to_other: bool) -> None:
        """A terminal has a second screen without scrollback; what is on the first one stays."""
        if to_other:
            self._main = (self._lines, self._row, self._column)
            self._lines, self._row, self._column = [[] for _ in range(self._rows)], 0, 0
        elif self._main is not None:
            (self._lines, self._row, self._column), self._main = self._main, None
