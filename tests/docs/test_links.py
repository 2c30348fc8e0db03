"""Links lead somewhere, and the first page stays short."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT, Page, page, pages

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAX_README_LINES = 150


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_page_and_to_a_heading_of_it(path: object) -> None:
    here = next(page for page in pages() if page.path == path)
    broken = [link for link in _LINK.findall(here.prose) if not _leads_somewhere(here, link)]
    assert not broken, f"{here.name}: {broken}"


def test_readme_has_at_most_150_lines() -> None:
    assert len(page("README.md").text.splitlines()) <= MAX_README_LINES


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [page("README.md")]
    while waiting:
        here = waiting.pop()
        if here.path in reached:
            continue
        reached.add(here.path)
        links = (link.partition("#")[0] for link in _LINK.findall(here.prose) if "://" not in link)
        targets = ((here.path.parent / link).resolve() for link in links if link.endswith(".md"))
        waiting += [Page(target) for target in targets if target.exists()]
    assert set(PAGES) <= reached


def _leads_somewhere(here: Page, link: str) -> bool:
    if "://" in link or link.startswith("mailto:"):
        return True
    name, _, anchor = link.partition("#")
    target = (here.path.parent / name).resolve() if name else here.path
    if not target.exists():
        return False
    return not anchor or anchor in Page(target).anchors
