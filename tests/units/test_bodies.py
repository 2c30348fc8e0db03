"""The body of a POST: what is taken, and how a refusal names the field."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.errors import ProtocolError
from chatmesh.ingress.bodies import parse_post
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.web import Problem
from tests.protocol.values import HOSTILE, JSON, TEXTS, nested
from tests.units.made import request


def refusal(data: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        parse_post(data)
    return caught.value


def paths(problem: Problem) -> list[str]:
    return [error["path"] for error in problem.more["errors"]]


def posted(**body: Any) -> bytes:
    return orjson.dumps({"message": "hi"} | body)


def test_a_message_alone_is_enough() -> None:
    body, context = parse_post(posted())
    assert (body.message, body.message_id, body.user_id, body.correlation_id) == ("hi", None, None, None)
    assert context == {}


def test_a_context_passes_as_it_came_with_the_providers_own_keys() -> None:
    given_context = {"model": "count", "temperature": 0.7, "seed": 5, "tools": [{"a": None}], "max_tokens": 3}
    assert parse_post(posted(context=given_context))[1] == given_context


def test_unknown_keys_are_ignored() -> None:
    assert parse_post(posted(new=1))[0].message == "hi"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"hello",
        b'{"message": "hi"',
        b"\xff",
        b'{"message": NaN}',
        b'{"message": "\\ud800"}',
        nested(33),
        nested(1000),
        nested(5000),
        b'{"message": "hi", "context": ' + nested(33) + b"}",
    ],
)
def test_what_is_no_json_is_a_400(data: bytes) -> None:
    problem = refusal(data)
    assert (problem.status, problem.code) == (400, "not_json")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "(body)"),
        ("hi", "(body)"),
        (None, "(body)"),
        ({}, "message"),
        ({"message": None}, "message"),
        ({"message": 5}, "message"),
        ({"message": ["hi"]}, "message"),
        ({"message_id": ""}, "message_id"),
        ({"message_id": "a.b"}, "message_id"),
        ({"message_id": "a\n"}, "message_id"),
        ({"message_id": "é"}, "message_id"),
        ({"message_id": "x" * 129}, "message_id"),
        ({"message_id": 5}, "message_id"),
        ({"user_id": "x" * 257}, "user_id"),
        ({"correlation_id": "x" * 257}, "correlation_id"),
        ({"context": []}, "context"),
        ({"context": "x"}, "context"),
        ({"context": {"model": ""}}, "context.model"),
        ({"context": {"model": 5}}, "context.model"),
        ({"context": {"temperature": 2.1}}, "context.temperature"),
        ({"context": {"temperature": -1}}, "context.temperature"),
        ({"context": {"temperature": "0.5"}}, "context.temperature"),
        ({"context": {"temperature": True}}, "context.temperature"),
        ({"context": {"max_tokens": 0}}, "context.max_tokens"),
        ({"context": {"max_tokens": 1.5}}, "context.max_tokens"),
        ({"context": {"max_tokens": "5"}}, "context.max_tokens"),
        ({"context": {"max_tokens": True}}, "context.max_tokens"),
        ({"context": {"tokens_per_second": -1}}, "context.tokens_per_second"),
        ({"context": {"tokens_per_second": "fast"}}, "context.tokens_per_second"),
        ({"context": {"conversation_history": {}}}, "context.conversation_history"),
        ({"context": {"on_busy": "wait"}}, "context.on_busy"),
    ],
)
def test_a_field_of_the_wrong_shape_is_a_422_with_its_path(body: object, path: str) -> None:
    if isinstance(body, dict) and body and "message" not in body:
        body = {"message": "hi"} | body
    problem = refusal(orjson.dumps(body))
    assert (problem.status, problem.code) == (422, "invalid_body")
    assert paths(problem) == [path]
    assert problem.detail.startswith(f"{path}: ")


def test_every_field_that_is_wrong_is_named_at_once() -> None:
    problem = refusal(posted(message=1, message_id="*", context={"temperature": 9}))
    assert sorted(paths(problem)) == ["context.temperature", "message", "message_id"]


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    problem = refusal(posted(message=["a secret"], user_id={"a": "secret"}, context={"model": ["secret"]}))
    assert "secret" not in str(problem.body("r"))


def status_of(data: bytes) -> int:
    """202 where it is taken. Anything but a Problem goes through and fails the test."""
    try:
        parse_post(data)
    except Problem as problem:
        return problem.status
    return 202


@given(JSON)
@settings(deadline=None)
def test_any_json_is_taken_or_a_problem(value: object) -> None:
    for body in (value, {"message": "hi", "context": value}, {"message": value}, {"message": "", "x": value}):
        assert status_of(orjson.dumps(body)) in (202, 400, 422)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_taken_or_a_problem(data: bytes) -> None:
    assert status_of(data) in (202, 400, 422)


@given(message=TEXTS | st.sampled_from(HOSTILE), context=st.dictionaries(st.text("xyz"), JSON, max_size=3))
@settings(deadline=None, max_examples=50)
def test_what_a_pod_takes_a_worker_can_read(message: str, context: dict[str, Any]) -> None:
    body, taken = parse_post(posted(message=message, context=context))
    sent = request(body.message, **taken)
    assert WorkflowRequest.decode(sent.encode()) == sent


@pytest.mark.parametrize("depth", [29, 30, 31, 32, 33])
def test_what_is_nested_as_deep_as_a_pod_takes_it_a_worker_takes_too(depth: int) -> None:
    data = b'{"message": "hi", "context": {"deep": ' + nested(depth) + b"}}"
    try:
        body, context = parse_post(data)
    except Problem:
        with pytest.raises(ProtocolError):
            WorkflowRequest.decode(request("hi", deep=orjson.loads(nested(depth))).encode())
    else:
        WorkflowRequest.decode(request(body.message, **context).encode())
