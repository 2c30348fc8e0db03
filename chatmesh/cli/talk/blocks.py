"""Markdown that is still being written: which blocks are finished, and which one grows. Pure.

In: text as it comes. Out: whole blocks, which nothing that follows can change (but for link definitions, which models
don't write), and the one at the end. Only whole lines decide: half a line may become anything.
"""

from __future__ import annotations

from markdown_it import MarkdownIt

# As rich reads it; what stands inside of a block does not matter here.
_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("inline")


class Blocks:
    """`open` is the text of the block that grows."""

    def __init__(self) -> None:
        self.open = ""

    def feed(self, text: str) -> str:
        """The blocks that are finished by now, as one text; "" where none is."""
        self.open += text
        if "\n" not in text:
            return ""
        whole = self.open[: self.open.rindex("\n") + 1]
        starts = [
            token.map[0] for token in _PARSER.parse(whole) if token.level == 0 and token.map is not None
        ]
        if len(starts) < 2:
            return ""
        lines = whole.split("\n")
        finished = "\n".join(lines[: starts[-1]]) + "\n"
        self.open = self.open[len(finished) :]
        return finished

    def end(self) -> str:
        """What is left."""
        rest, self.open = self.open, ""
        return rest
