"""Joins what a prefilled model says to the text that it was given: pure.

A server that goes on behind a trailing assistant message wants it without blanks at its end: Anthropic refuses them, and
tokenizers put a blank before a word and not behind one. So they are cut off, and what comes is joined without doubling
them.
"""

from __future__ import annotations

from chatmesh.providers.base import Continuation


class Seam:
    """`given` is what the server gets of the text that was shown. Fed with what it says, gives back what is new."""

    def __init__(self, shown: str = "") -> None:
        self.given = shown.rstrip()
        self._blanks = shown[len(self.given) :]
        self._held = ""

    def feed(self, text: str) -> str:
        """Empty as long as nothing but blanks came: they may be those that were shown already."""
        if not self._blanks:
            return text
        self._held += text
        return self.end() if self._held.strip() else ""

    def end(self) -> str:
        """What is still held back."""
        held, known = self._held, self._blanks
        self._held = self._blanks = ""
        if not known or held.startswith(known):
            return held.removeprefix(known)
        said = held.lstrip()
        # Fewer of the same blanks stand for those that were shown; others, such as a new line, are the model's own.
        return said if known.startswith(held[: len(held) - len(said)]) else held


def beginning(shown: str, continuation: Continuation) -> tuple[str, Seam]:
    """What of the shown text the server is given, and how what it says is joined to it. Of nothing but blanks it is
    given nothing: no server takes such a message."""
    seam = Seam(shown if continuation is Continuation.EXACT else "")
    if not shown.strip():
        return "", seam
    return (seam.given if continuation is Continuation.EXACT else shown), seam
