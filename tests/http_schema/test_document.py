"""`/openapi.json` says what the routes and the code say, and all of it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import schemathesis
from pydantic import TypeAdapter

import chatmesh
from chatmesh.app import Mesh
from chatmesh.config import load
from chatmesh.protocol import openai_ids
from chatmesh.protocol.messages import CHUNK_TYPES, ResponseChunk
from chatmesh.protocol.tokens import PATTERN, Token
from chatmesh.web import Request, Response, Route
from chatmesh.web.described import describe
from chatmesh.web.events import Chunk
from chatmesh.web.openapi import ANYWHERE, PROBLEM_JSON
from chatmesh.web.pages import ASIDE
from tests.http_schema.meshes import documented_codes, form_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running

COMPATIBLE = {"/v1/chat/completions", "/v1/models", "/v1/models/{model}"}
"""Paths of OpenAI's clients."""

IN_OPENAIS_WORDS = {
    (400, "invalid_value"),
    (404, "model_not_found"),
    (500, "attempts_exhausted"),
    (504, "request_expired"),
}
"""What problems of ours become for them."""

METHODS = {"get", "post", "delete"}
ELSEWHERE = {"not_found", "method_not_allowed", "expectation_failed", "bad_request", "http_error"}
"""Codes of what is no documented call; the description names the first two."""


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    mesh = Mesh(load(None, environ={}, role="pod").config)
    mesh._pod()  # what the tree does once it is up; no broker is needed to know the routes
    assert mesh.server is not None
    return list(mesh.server.routes)


@pytest.fixture(scope="module")
def document(routes: list[Route]) -> dict[str, Any]:
    return describe(routes)


def undocumented(routes: list[Route]) -> list[str]:
    return [
        f"{route.method} {route.path}"
        for route in routes
        if route.operation is None and not route.path.startswith(ASIDE)
    ]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


async def test_it_is_served_as_json_and_names_the_version(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as client:
        answer = await client.get("/openapi.json")
        assert mesh.server is not None
        assert answer.json() == describe(mesh.server.routes)
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["openapi"], answer.json()["info"]["version"]) == ("3.1.0", chatmesh.__version__)


def test_it_is_a_valid_openapi_document(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()


def test_every_route_is_documented(routes: list[Route]) -> None:
    assert not undocumented(routes)


def test_a_route_without_documentation_is_found(routes: list[Route]) -> None:
    async def handler(_request: Request) -> Response:
        raise NotImplementedError

    assert undocumented([*routes, Route("PUT", "/v1/new", handler)]) == ["PUT /v1/new"]


def test_native_calls_are_all_there(document: dict[str, Any]) -> None:
    session = "/v1/sessions/{session_id}"
    assert {f"{method.upper()} {path}" for method, path, _ in operations(document)} >= {
        f"POST {session}/messages",
        f"GET {session}/messages",
        f"GET {session}/messages/{{message_id}}",
        f"DELETE {session}/messages/{{message_id}}",
        f"GET {session}/events",
        f"POST {session}/ticket",
        f"POST {session}/share",
        "GET /v1/sessions",
        f"DELETE {session}",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /openapi.json",
        "GET /",
    }


def test_calls_of_openais_clients_are_there_with_errors_in_their_shape(document: dict[str, Any]) -> None:
    found = {f"{method.upper()} {path}" for method, path, _ in operations(document) if path in COMPATIBLE}
    assert found == {"POST /v1/chat/completions", "GET /v1/models", "GET /v1/models/{model}"}
    chat = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert set(chat["200"]["content"]) == {"application/json", "text/event-stream"}
    assert chat["404"]["content"]["application/json"]["schema"]["allOf"][1] == {
        "properties": {"error": {"properties": {"code": {"enum": ["model_not_found", "unknown_session"]}}}}
    }
    # What is no HTTP is told before it is known whom it is for.
    assert set(chat["400"]["content"]) == {"application/json", "application/problem+json"}
    assert set(chat["422"]["content"]) == {"application/json"}


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


def test_every_id_in_a_path_has_the_pattern_of_subject_tokens(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        in_path = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert set(in_path) == set(re.findall(r"{(\w+)}", path))
        assert {name: schema["pattern"] for name, schema in in_path.items() if name != "model"} == {
            name: openai_ids.PATTERN if name == "response_id" else PATTERN
            for name in in_path
            if name != "model"
        }


def test_events_are_described_as_a_stream_with_its_positions(document: dict[str, Any]) -> None:
    events = document["paths"]["/v1/sessions/{session_id}/events"]["get"]
    assert set(events["responses"]["200"]["content"]) == {"text/event-stream"}
    assert {(p["in"], p["name"]) for p in events["parameters"]} == {
        ("path", "session_id"),
        ("header", "Last-Event-ID"),
        ("query", "last_event_id"),
        ("query", "message_id"),
        ("query", "ticket"),
        ("query", "from"),
    }


def test_events_of_several_sessions_need_one_at_least(document: dict[str, Any]) -> None:
    events = document["paths"]["/v1/events"]["get"]
    session, last = events["parameters"]
    assert (session["name"], session["required"], session["schema"]["type"]) == ("session", True, "array")
    assert (session["schema"]["minItems"], session["schema"]["maxItems"]) == (1, 32)
    assert (last["in"], last["name"]) == ("header", "Last-Event-ID")
    assert events["responses"]["200"]["content"].keys() == {"text/event-stream"}


def test_chunks_of_the_document_are_those_of_the_protocol() -> None:
    session_id, message_id = Token("s"), Token("m")
    failed = ResponseChunk(session_id, message_id, 0, "", error={"code": "a", "message": "b"})
    assert set(failed.wire()) == set(Chunk.__annotations__)
    assert set(get_args(get_type_hints(Chunk)["chunk_type"])) == CHUNK_TYPES


def test_every_answer_has_a_request_id_and_every_busy_one_says_when_to_come_back(
    document: dict[str, Any],
) -> None:
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            name = answer.get("$ref", "").rpartition("/")[2]
            whole = document["components"]["responses"][name] if name else answer
            assert "X-Request-Id" in whole["headers"]
            assert ("Retry-After" in whole["headers"]) is (status in {"429", "503"})
            if int(status) >= 400:
                # What can happen anywhere is told before the call's own form is known.
                assert set(whole["content"]) <= {form_of(path), PROBLEM_JSON}
                assert name or form_of(path) in whole["content"]


def test_every_code_that_is_raised_is_documented_and_no_other(document: dict[str, Any]) -> None:
    raised = set(raised_problems(Path(chatmesh.__file__).parent))
    said = documented_codes(document)
    assert {(status, code) for status, code in raised if code not in ELSEWHERE} <= said
    assert said <= raised | IN_OPENAIS_WORDS


def raised_problems(house: Path) -> Iterator[tuple[int, str]]:
    """(status, code) of each `Problem(…)` in the source that has both in plain text."""
    for file in house.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="Problem"),
                    args=[ast.Constant(value=int(status)), ast.Constant(value=str(code)), *_],
                ):
                    yield status, code
                case _:
                    pass


def test_every_operation_is_in_one_group_and_no_group_is_empty(document: dict[str, Any]) -> None:
    groups = [operation["tags"] for _, _, operation in operations(document)]
    assert all(len(each) == 1 for each in groups)
    assert {name for (name,) in groups} == {tag["name"] for tag in document["tags"]}


def test_every_body_has_an_example_which_it_takes(routes: list[Route]) -> None:
    bodies = [route.operation for route in routes if route.operation and route.operation.body is not None]
    assert len(bodies) >= 5
    for operation in bodies:
        assert operation.example is not None, operation.id
        TypeAdapter(operation.body).validate_json(json.dumps(operation.example))


def test_what_can_happen_anywhere_stands_once(document: dict[str, Any]) -> None:
    assert set(document["components"]["responses"]) == {f"Problem{status}" for status in ANYWHERE}
