"""Markdown that is being written: what is finished stays, whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatmesh.cli.talk.blocks import Blocks
from tests.chat.models import PAGE


def fed(text: str, size: int = 1) -> list[str]:
    """The finished texts, and last what is still open."""
    blocks = Blocks()
    found = [blocks.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return [*filter(None, found), blocks.open]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one", ["one"]),
        ("one\n\ntwo", ["one\n\ntwo"]),  # half a line decides nothing
        ("one\n\ntwo\n", ["one\n\n", "two\n"]),
        ("# T\none\n", ["# T\n", "one\n"]),
        (
            "one\n#hash\n",
            ["one\n#hash\n"],
        ),  # no heading, and a "#" that is not followed by anything yet is none either
        ("- a\n\n- b\n\n  c\n", ["- a\n\n- b\n\n  c\n"]),
        ("- a\n\nend\n", ["- a\n\n", "end\n"]),
        ("```\none\n\n# two\n", ["```\none\n\n# two\n"]),
        ("```\none\n```\nend\n", ["```\none\n```\n", "end\n"]),
        ("a | b\n--|--\n1 | 2\n", ["a | b\n--|--\n1 | 2\n"]),
        ("one\n---\n", ["one\n---\n"]),
        ("\n\none\n\n\n", ["\n\none\n\n\n"]),
    ],
)
def test_block_is_finished_when_the_next_one_has_begun(text: str, parts: list[str]) -> None:
    assert fed(text) == parts
    assert "".join(fed(text, 3)) == text


_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_LINES = st.sampled_from(
    [
        "",
        "text",
        "# title",
        "- item",
        "1. item",
        "  more",
        "    code",
        "```",
        "> quote",
        "---",
        "| a | b |",
        "|---|---|",
        "~~~",
    ]
)


@given(st.lists(_LINES, max_size=14).map("\n".join), st.integers(1, 9))
def test_blocks_alone_are_rendered_as_they_are_together(text: str, size: int) -> None:
    parts = fed(text, size)
    assert "".join(parts) == text
    assert "".join(_PARSER.render(part) for part in parts) == _PARSER.render(text)


def test_page_is_the_same_in_pieces() -> None:
    parts = fed(PAGE, 7)
    assert len(parts) == 5
    assert "".join(parts) == PAGE


def test_end_gives_what_is_left_once() -> None:
    blocks = Blocks()
    blocks.feed("rest")
    assert [blocks.end(), blocks.end()] == ["rest", ""]
