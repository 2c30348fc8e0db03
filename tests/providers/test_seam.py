"""What a prefilled model says is joined to what was shown."""

from __future__ import annotations

import pytest

from chatmesh.providers.base import Continuation
from chatmesh.providers.seam import Seam, beginning


def join(shown: str, *pieces: str) -> str:
    seam = Seam(shown)
    return shown + "".join(seam.feed(piece) for piece in pieces) + seam.end()


@pytest.mark.parametrize(
    ("shown", "pieces", "whole"),
    [
        ("one", [" two"], "one two"),
        ("one ", [" two"], "one two"),
        ("one ", ["two"], "one two"),
        ("one ", [" ", "two"], "one two"),
        ("one\n\n", ["\n", "\n", "two"], "one\n\ntwo"),
        ("one\n\n", ["\n", "two"], "one\n\ntwo"),
        ("one ", ["\n\ntwo"], "one \n\ntwo"),
        ("one ", ["  two"], "one  two"),
        ("one ", [" "], "one "),
        ("one ", [], "one "),
        ("", [" one"], " one"),
        ("one ", [" two", " three"], "one two three"),
    ],
)
def test_blanks_are_not_doubled_and_not_lost(shown: str, pieces: list[str], whole: str) -> None:
    assert join(shown, *pieces) == whole


def test_the_server_is_given_what_it_takes() -> None:
    assert beginning("one \n", Continuation.EXACT)[0] == "one"
    assert beginning("one \n", Continuation.OVERLAP)[0] == "one \n"
    assert beginning(" \n", Continuation.OVERLAP)[0] == ""
    assert beginning("", Continuation.EXACT)[0] == ""
