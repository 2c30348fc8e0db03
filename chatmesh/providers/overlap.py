"""Takes the overlap off a continuation: pure.

A model that is asked to go on with its own half answer often begins by repeating the last words of it. What it says first
is held back until it is clear whether it repeats, then said without the repetition.
"""

from __future__ import annotations

MAX_OVERLAP = 400
"""Characters of the shown text's end that a repetition may begin in: a few sentences."""

MIN_OVERLAP = 8
"""A shorter match is taken for chance: "the" after "the" is English, "e" after "the" is a new word."""


class Overlap:
    """Fed with the new text piece by piece, gives back what is to be shown of it."""

    def __init__(self, shown: str) -> None:
        self._tail = shown[-MAX_OVERLAP:]
        self._held = ""
        self.is_over = not self._tail
        """Whether all that comes is shown as it is."""

    def feed(self, text: str) -> str:
        """What can be shown now; empty while it may still be a repetition."""
        if self.is_over:
            return text
        self._held += text
        # As long as some end of the shown text begins with all that was held back, it may go on repeating.
        if any(self._tail.startswith(self._held, at) for at in range(len(self._tail))):
            return ""
        return self.end()

    def end(self) -> str:
        """The text that is still held back, without the longest repetition in front of it."""
        held, self._held = self._held, ""
        # Thoughts before the first word end nothing: the repetition is still to come.
        self.is_over = self.is_over or bool(held)
        for at in range(len(self._tail)):
            length = len(self._tail) - at
            if length < min(MIN_OVERLAP, len(self._tail)):
                break
            if held.startswith(self._tail[at:]):
                return held[length:]
        return held
