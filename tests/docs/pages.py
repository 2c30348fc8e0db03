"""The project's own pages, as text, and what stands in them in code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One page. `prose` is the text without fenced blocks."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        return _FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """What stands between single backticks."""
        return _SPAN.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """Where a link may point to, as GitHub makes them."""
        return {_anchor(heading) for heading in _HEADING.findall(self.prose)}

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks whose first line is exactly ```language."""
        return [body for info, body in _FENCE.findall(self.text) if info.strip() == language]

    def section(self, heading: str) -> str:
        """The text below `## heading`, up to the next heading of that level."""
        _, found, rest = self.text.partition(f"\n## {heading}\n")
        assert found, f"{self.name} has no section {heading!r}"
        return rest.partition("\n## ")[0]


def pages() -> list[Page]:
    """Every page of the project."""
    return [Page(path) for path in PAGES]


def page(name: str) -> Page:
    """The page at a path below the project's root."""
    return Page(ROOT / name)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row in `text`, heads and rulers left out."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and set(lines[number + 1]) <= set("|- ") and lines[number + 1]
        if line.startswith("|") and not is_head and not set(line) <= set("|- "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def _anchor(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
