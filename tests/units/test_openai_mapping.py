"""A conversation as OpenAI's clients send it becomes a message of ours: nothing is lost, and nothing said twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from chatmesh.errors import ProtocolError
from chatmesh.ingress.openai.bodies import parse_chat
from chatmesh.ingress.openai.mapping import message_and_context, prompt_tokens, split
from chatmesh.ingress.repeats import is_retry, retry_key
from chatmesh.protocol.callers import ANYBODY
from chatmesh.protocol.jsontext import MAX_DEPTH
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.tokens import Token
from chatmesh.web import Problem

SYSTEM = {"role": "system", "content": "be brief"}
HI = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "hello"}
IMAGE = {
    "role": "user",
    "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "rain"}


def parts(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([HI], ("", "hi", [])),
        ([SYSTEM, HI], ("be brief", "hi", [])),
        ([SYSTEM | {"role": "developer"}, HI, HELLO, HI], ("be brief", "hi", [HI, HELLO])),
        ([parts("a", "b")], ("", "a\nb", [])),
        # A second one is kept where it stands.
        ([SYSTEM, SYSTEM, HI], ("be brief", "hi", [SYSTEM])),
        ([HI, SYSTEM, HI], ("", "hi", [HI, SYSTEM])),
        # What is more than a user's text stays as it is.
        ([SYSTEM, HI, RESULT], ("be brief", "", [HI, RESULT])),
        ([IMAGE], ("", "", [IMAGE])),
        ([HI, HELLO], ("", "", [HI, HELLO])),
        ([HI | {"name": "ann"}], ("", "", [HI | {"name": "ann"}])),
        ([SYSTEM | {"name": "op"}, HI], ("", "hi", [SYSTEM | {"name": "op"}])),
        ([HI | {"name": None}], ("", "hi", [])),
        ([HI | {"content": ""}], ("", "", [HI | {"content": ""}])),
        ([HI | {"content": None}], ("", "", [HI | {"content": None}])),
        ([SYSTEM], ("be brief", "", [])),
    ],
)
def test_each_message_is_in_one_place(
    messages: list[dict[str, Any]], expected: tuple[str, str, list[dict[str, Any]]]
) -> None:
    assert split(messages) == expected


def context_of(**body: Any) -> dict[str, Any]:
    chat, raw = parse_chat(json.dumps({"model": "m", "messages": [HI], **body}).encode())
    return message_and_context(chat, raw)[1]


def test_history_is_always_there_so_that_the_sessions_own_is_not_added() -> None:
    assert context_of() == {"model": "m", "conversation_history": []}


def test_ours_to_fill_is_not_taken_from_the_body_and_nulls_are_nothing() -> None:
    more = {
        "system_prompt": "no",
        "conversation_history": ["no"],
        "seed": None,
        "stream": True,
        "metadata": {},
    }
    assert context_of(**more, stream_options={}) == context_of()


def test_the_newer_name_of_the_tokens_wins_and_whole_numbers_are_whole() -> None:
    assert context_of(max_tokens=5, max_completion_tokens=3.0, n=1.0)["max_tokens"] == 3


def test_deepest_body_that_is_taken_is_a_request_that_workers_take() -> None:
    def asking(depth: int) -> bytes:
        return b'{"model": "m", "messages": [{"role": "user", "content": "hi", "x": %b%b}]}' % (
            b"[" * depth,
            b"]" * depth,
        )

    chat, raw = parse_chat(asking(MAX_DEPTH - 4))
    message, context = message_and_context(chat, raw)
    request = WorkflowRequest(Token("m"), Token("s"), "", message, context, "", "")
    assert WorkflowRequest.decode(request.encode()) == request
    with pytest.raises(Problem):
        parse_chat(asking(MAX_DEPTH - 3))
    deeper = request.encode().replace(b"[[]]", b"[[[]]]")
    with pytest.raises(ProtocolError):
        WorkflowRequest.decode(deeper)


def test_prompts_tokens_are_estimated_from_all_that_was_said() -> None:
    assert prompt_tokens([HI]) < prompt_tokens([HI, HELLO]) < prompt_tokens([HI, HELLO, IMAGE])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, False), ("0", False), ("1", True), ("10", True), ("x", False), ("-1", False)],
)
def test_retry_is_what_says_that_it_is_one(count: str | None, expected: bool) -> None:
    assert is_retry({} if count is None else {"x-stainless-retry-count": count}) is expected


def test_only_the_same_body_of_the_same_caller_in_the_same_session_is_the_same() -> None:
    ann = {"Authorization": "Bearer a"}
    keys = [
        retry_key("/p", ann, ANYBODY, "u", Token("s"), b"{}"),
        retry_key("/p", {}, ANYBODY, "u", Token("s"), b"{}"),
        retry_key("/p", ann, ANYBODY, "us", None, b"{}"),
        retry_key("/p", ann, ANYBODY, "u", None, b"{}"),
        retry_key("/p", ann, ANYBODY, "u", Token("s"), b"{} "),
        retry_key("/q", ann, ANYBODY, "u", Token("s"), b"{}"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == retry_key(
        "/p", {"Authorization": "Bearer a", "x-stainless-retry-count": "1"}, ANYBODY, "u", Token("s"), b"{}"
    )
    # One who is known may come with a fresh token, and is another one than somebody of the same name elsewhere.
    here, there = (replace(ANYBODY, tenant=tenant, user="u") for tenant in ("a", "b"))
    fresh = {"Authorization": "Bearer fresh"}
    assert retry_key("/p", ann, here, "u", None, b"{}") == retry_key("/p", fresh, here, "u", None, b"{}")
    assert retry_key("/p", ann, here, "u", None, b"{}") != retry_key("/p", ann, there, "u", None, b"{}")
