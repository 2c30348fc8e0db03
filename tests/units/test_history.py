"""What a model gets of a conversation: the newest of it, whole messages, oldest first."""

from __future__ import annotations

from typing import Any

import pytest

from chatmesh.protocol.exchanges import Exchange, exchanges
from chatmesh.protocol.records import asked
from chatmesh.protocol.tokens import Token
from chatmesh.workflow import Bounds
from chatmesh.workflow.conversation import brought_along, of_session
from tests.units.made import chunk, record, request

MANY = Bounds(100, 1_000_000)
NOW = Token("now")


def said(number: int, question: str, answer: str, *, final: str = "stop") -> Exchange:
    name = f"m{number}"
    (exchange,) = exchanges(
        [
            record(
                2 * number, chunk(0, answer, message=name), message=name, request=asked(request(question))
            ),
            record(2 * number + 1, chunk(1, "", message=name, final=final), message=name),
        ]
    )
    return exchange


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def test_the_session_is_told_oldest_first() -> None:
    history = of_session([said(1, "a", "A"), said(2, "b", "B")], NOW, MANY)
    assert history == (user("a"), assistant("A"), user("b"), assistant("B"))


@pytest.mark.parametrize("final", ["cancelled", "error", "length"])
def test_an_answer_that_was_cut_short_counts_as_far_as_it_was_shown(final: str) -> None:
    assert of_session([said(1, "a", "half", final=final)], NOW, MANY) == (user("a"), assistant("half"))


def test_who_said_nothing_is_left_out() -> None:
    assert of_session([said(1, "a", ""), said(2, "", "B")], NOW, MANY) == (user("a"), assistant("B"))


def test_the_message_itself_is_no_history() -> None:
    assert of_session([said(1, "a", "A"), said(2, "b", "B")], Token("m2"), MANY) == (
        user("a"),
        assistant("A"),
    )


@pytest.mark.parametrize(("turns", "kept"), [(0, 0), (1, 2), (2, 4), (9, 6)])
def test_no_more_than_so_many_turns(turns: int, kept: int) -> None:
    exchanges = [said(1, "a", "A"), said(2, "b", "B"), said(3, "c", "C")]
    history = of_session(exchanges, NOW, Bounds(turns, 1_000_000))
    assert len(history) == kept
    assert not kept or history[-1] == assistant("C")


def test_no_more_than_about_so_many_tokens_and_never_half_a_turn() -> None:
    exchanges = [said(1, "a", "A"), said(2, "b", "x" * 4000), said(3, "c", "C")]
    assert of_session(exchanges, NOW, Bounds(100, 500)) == (user("c"), assistant("C"))
    assert of_session(exchanges, NOW, Bounds(100, 1)) == ()


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, None),
        ({"conversation_history": None}, None),
        ({"conversation_history": []}, ()),
        ({"conversation_history": [user("x"), "odd", {"content": "no role"}]}, (user("x"),)),
    ],
)
def test_what_the_request_brings_along_counts_and_an_empty_one_too(
    context: dict[str, Any], expected: Any
) -> None:
    assert brought_along(context) == expected
