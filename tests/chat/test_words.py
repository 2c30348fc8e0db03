"""What is typed is understood, and what is told is what happened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatmesh.cli.talk import failures, words
from chatmesh.cli.talk.history import turns
from chatmesh.cli.talk.words import Order
from chatmesh.client import Answer, Event, Fate, Sent
from chatmesh.errors import ConfigError
from tests.operate.support import chunk, sha

URLS = ["http://a", "http://b"]


def answered(text: str = "one two", *, error: dict[str, str] | None = None, **metadata: Any) -> Answer:
    answer = Answer("s", "m")
    known = {"finish_reason": "stop", "digest": sha(text), "tokens_used": 2, "model": "echo"} | metadata
    for each in (chunk("m", 0, text), chunk("m", 1, is_final=True, metadata=known, error=error)):
        answer.take(Event("message", json.dumps(each), ""))
    return answer


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hello", "hello"),
        ("  hello  ", "hello"),
        ("", ""),
        ("//etc is a folder", "/etc is a folder"),
        ("a /new idea", "a /new idea"),
        ("/quit", Order("quit", "")),
        ("/model  gpt-5 ", Order("model", "gpt-5")),
        ("two\n/lines", "two\n/lines"),
    ],
)
def test_line_is_an_order_or_a_message(line: str, meant: Order | str) -> None:
    assert words.understood(line) == meant


@pytest.mark.parametrize("line", ["/nope", "/", "/Model x", "/models-x", "/\x1b[2J"])
def test_order_that_nobody_knows_names_those_that_there_are(line: str) -> None:
    with pytest.raises(ConfigError) as error:
        words.understood(line)
    assert "/models" in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "piped", "message"),
    [
        ("hi", None, "hi"),
        ("review this", "+ a\n- b\n", "review this\n\n+ a\n- b"),
        (None, "piped\n", "piped"),
        ("-", "  indented\n", "  indented"),
        ("hi", "", "hi"),
        ("hi", " \n", "hi"),
    ],
)
def test_message_is_the_argument_and_what_was_piped_below_it(
    argument: str | None, piped: str | None, message: str
) -> None:
    assert words.composed(argument, piped) == message


@pytest.mark.parametrize(("argument", "piped"), [(None, None), ("-", "\n"), (" \t", None), ("", "")])
def test_nothing_is_no_message(argument: str | None, piped: str | None) -> None:
    with pytest.raises(ConfigError, match="no message"):
        words.composed(argument, piped)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b]52;c;x\x07", r"\x1b]52;c;x\x07"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("line\r\n", "line\n"),
        ("Grüße 👩‍👧 ok", "Grüße 👩‍👧 ok"),
    ],
)
def test_terminal_gets_text_and_no_orders(text: str, shown: str) -> None:
    assert words.safe(text) == shown


def test_json_says_what_was_answered() -> None:
    usage = {"completion_tokens": 3}
    found = words.result(answered(usage=usage), reconnects=1, error=None)
    assert list(found) == [
        *("session_id", "message_id", "content", "finish_reason", "usage", "metadata", "digest"),
        *("reconnects", "error"),
    ]
    assert (found["session_id"], found["message_id"], found["content"]) == ("s", "m", "one two")
    assert (found["usage"], found["digest"], found["reconnects"], found["error"]) == (
        usage,
        sha("one two"),
        1,
        None,
    )


def test_json_of_no_answer_has_its_error_and_no_digest() -> None:
    error = failures.unreachable(URLS)
    found = words.result(Answer("s", "m"), reconnects=0, error=error)
    assert (found["content"], found["finish_reason"], found["digest"], found["usage"]) == (
        "",
        None,
        None,
        None,
    )
    assert found["error"] == {"code": "unreachable", "message": str(error)}


@pytest.mark.parametrize(
    ("answer", "first", "seconds", "line"),
    [
        (answered(), 0.44, 0.5, "2 tokens · first after 0.4 s · 2 tokens/s · echo"),
        (answered(tokens_used=1), 0.44, 0.0, "1 token · first after 0.4 s · echo"),
        (answered(), 1.0, 0.01, "2 tokens · first after 1.0 s · echo"),
        (answered(), None, 9.0, "2 tokens · echo"),
        (answered(finish_reason="cancelled"), None, 0, "2 tokens · echo · stopped"),
        (answered(finish_reason="length"), None, 0, "2 tokens · echo · cut at its length"),
        (answered(finish_reason="content_filter", model=None), None, 0, "2 tokens · content_filter"),
    ],
)
def test_summary_is_one_line_of_what_is_known(
    answer: Answer, first: float | None, seconds: float, line: str
) -> None:
    assert words.summary(answer, first_seconds=first, seconds=seconds) == line


def test_tool_call_is_one_line_of_bounded_width() -> None:
    assert words.called("weather", '{\n  "city": "Graz"\n}') == '→ weather({ "city": "Graz" })'
    assert len(words.called("write", '"' + "x" * 1000 + '"')) == words.CALL_WIDTH


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(0, 3), (400, 2), (401, 4), (403, 4), (404, 1), (413, 2), (422, 2), (429, 1), (503, 1), (504, 1)],
)
def test_exit_code_says_who_has_to_do_something(status: int, exit_code: int) -> None:
    error = failures.refused(status, {"detail": "No.", "code": "c"}, URLS)
    assert error.exit_code == exit_code
    assert "http://a or http://b" in str(error) if status == 0 else str(error).startswith("No")


def test_message_that_may_be_accepted_says_how_to_repeat_it() -> None:
    assert "--session s --message-id m" in str(failures.not_sent(Sent("m", Fate.UNKNOWN, 504, 1), "s", URLS))
    assert "--message-id" not in str(failures.not_sent(Sent("m", Fate.REFUSED, 503, 1), "s", URLS))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (answered(), None),
        (answered(finish_reason="length"), None),
        (answered(finish_reason="tool_calls"), None),
        (answered(finish_reason="content_filter"), "content_filter"),
        (answered(finish_reason="cancelled"), "cancelled"),
        (answered(digest="sha256:0"), "digest_mismatch"),
        (
            answered(finish_reason="error", error={"code": "attempts_exhausted", "message": "x"}),
            "attempts_exhausted",
        ),
        (answered(finish_reason="error"), "error"),
    ],
)
def test_end_of_an_answer_is_good_or_has_a_code(answer: Answer, code: str | None) -> None:
    found = failures.failure(answer)
    assert (None if found is None else found.code) == code


def test_history_becomes_turns_in_their_order() -> None:
    rows = [
        {"message_id": "a", "role": "user", "content": "hi", "status": "done"},
        {"message_id": "a", "role": "assistant", "content": "yo", "status": "done"},
        {"message_id": "b", "role": "user", "content": "go", "status": "failed"},
        {
            "message_id": "b",
            "role": "assistant",
            "content": "",
            "status": "failed",
            "error": {"code": "c", "message": "no"},
        },
        {"message_id": "c", "role": "user", "content": "on", "status": "queued"},
        {"message_id": "c", "role": "assistant", "content": "", "status": "queued"},
    ]
    found = [(turn.message, turn.answer, turn.status, turn.reason, turn.is_over) for turn in turns(rows)]
    assert found == [
        ("hi", "yo", "done", "", True),
        ("go", "", "failed", "no", True),
        ("on", "", "queued", "", False),
    ]
