"""What a model gets of a conversation: the newest of it, whole messages, oldest first."""

from __future__ import annotations

import json
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
    history = of_session([said(1, "a", "A"), said(2, "b", "B")], NOW, {}, MANY)
    assert history == (user("a"), assistant("A"), user("b"), assistant("B"))


@pytest.mark.parametrize("final", ["cancelled", "error", "length"])
def test_an_answer_that_was_cut_short_counts_as_far_as_it_was_shown(final: str) -> None:
    assert of_session([said(1, "a", "half", final=final)], NOW, {}, MANY) == (user("a"), assistant("half"))


def test_who_said_nothing_is_left_out() -> None:
    assert of_session([said(1, "a", ""), said(2, "", "B")], NOW, {}, MANY) == (user("a"), assistant("B"))


def test_the_message_itself_is_no_history() -> None:
    assert of_session([said(1, "a", "A"), said(2, "b", "B")], Token("m2"), {}, MANY) == (
        user("a"),
        assistant("A"),
    )


@pytest.mark.parametrize(("turns", "kept"), [(0, 0), (1, 2), (2, 4), (9, 6)])
def test_no_more_than_so_many_turns(turns: int, kept: int) -> None:
    exchanges = [said(1, "a", "A"), said(2, "b", "B"), said(3, "c", "C")]
    history = of_session(exchanges, NOW, {}, Bounds(turns, 1_000_000))
    assert len(history) == kept
    assert not kept or history[-1] == assistant("C")


def test_no_more_than_about_so_many_tokens_and_never_half_a_turn() -> None:
    exchanges = [said(1, "a", "A"), said(2, "b", "x" * 4000), said(3, "c", "C")]
    assert of_session(exchanges, NOW, {}, Bounds(100, 500)) == (user("c"), assistant("C"))
    assert of_session(exchanges, NOW, {}, Bounds(100, 1)) == ()


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


def called(
    number: int, *ids: str, text: str = "", final: str = "tool_calls", arguments: str = "{}"
) -> Exchange:
    """An answer that calls for a tool under each of these ids."""
    name = f"m{number}"
    calls = [
        {"type": "tool_call", "index": index, "id": id, "name": "f", "arguments": arguments}
        for index, id in enumerate(ids)
    ]
    chunks = [chunk(0, text, message=name)]
    chunks += [chunk(0, json.dumps(call), message=name) | {"chunk_type": "metadata"} for call in calls]
    asking = asked(request("q"))
    end = chunk(1, "", message=name, final=final)
    (exchange,) = exchanges([record(number, *chunks, end, message=name, request=asking)])
    return exchange


def result(id: str) -> dict[str, Any]:
    return {"tool_call_id": id, "content": f"of {id}"}


def roles(exchange: Exchange, *ids: str) -> list[str]:
    history = of_session([exchange], NOW, {"tool_results": [result(id) for id in ids]}, MANY)
    return [message["role"] for message in history]


def test_calls_stand_before_their_results_whatever_the_order_in_which_those_came() -> None:
    history = of_session(
        [called(1, "a", "b", text="I look.")], NOW, {"tool_results": [result("b"), result("a")]}, MANY
    )
    assert history[1]["content"] == "I look."
    assert [call["id"] for call in history[1]["tool_calls"]] == ["a", "b"]
    assert history[2:] == ({"role": "tool"} | result("a"), {"role": "tool"} | result("b"))


@pytest.mark.parametrize(
    "exchange",
    [
        called(1, "a", "b", text="half of the results"),
        called(1, "a", text="stopped", final="cancelled"),
        called(1, "a", text="failed", final="error"),
        called(1, "a", text="cut short", final="length"),
        called(1, "a", text="no JSON", arguments='{"a'),
    ],
    ids=lambda exchange: exchange.text,
)
def test_calls_that_broke_off_or_were_not_all_answered_leave_their_text(exchange: Exchange) -> None:
    assert roles(exchange, "a") == ["user", "assistant"]
    assert "tool_calls" not in of_session([exchange], NOW, {"tool_results": [result("a")]}, MANY)[1]


def test_results_come_along_with_their_calls_only() -> None:
    assert roles(called(1, "a"), "a", "x") == ["user", "assistant", "tool"]
    assert roles(called(1, "a"), "x") == ["user"]
    long = {"tool_call_id": "a", "content": "x" * 4000}
    assert of_session([called(1, "a")], NOW, {"tool_results": [long]}, Bounds(100, 500)) == ()
