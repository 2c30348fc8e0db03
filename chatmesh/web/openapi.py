"""The API's description, made of what the routes say about themselves and of the types they use.

In: operations, which stand where the routes are declared. Out: an OpenAPI 3.1 document. Pure: serving it is the server's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from chatmesh.protocol.tokens import PATTERN
from chatmesh.web.problem import ProblemBody

EVENT_STREAM = "text/event-stream"
PROBLEM_JSON = "application/problem+json"

RETRIED = (429, 503)
"""Statuses that always say when to come back."""

ANYWHERE: Mapping[int, Sequence[str]] = {
    400: ("bad_http",),
    403: ("host_not_allowed", "origin_not_allowed"),
    429: ("too_many_connections",),
    431: ("head_too_large",),
    500: ("internal",),
}
"""Problems that every call can have, besides 404 and 405 of the address itself."""

SECURITY: Mapping[str, Mapping[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key or a token: `auth.mode` says which.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same in another header.",
    },
}
"""Any of them, or none where `auth.mode` is none."""

TAGS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("Sessions", "Say something, follow, read and erase: the native calls.", ("/v1/sessions",)),
    ("Chat completions", "For OpenAI's clients.", ("/v1/chat", "/v1/models")),
    ("Responses", "For OpenAI's clients, the newer way.", ("/v1/responses",)),
    ("Vercel AI SDK", "For useChat.", ("/api/chat",)),
    ("The pod", "Health, measurements, pages and this description.", ("/",)),
)
"""Name, description, and what the paths of each group begin with; the first that fits counts."""

_SHARED_HEADERS = {
    "X-Request-Id": "The caller's, where it is or the message's correlation id, where it is one of 256 visible characters at most; else a new one.",
    "Retry-After": "Seconds to wait before asking again.",
}


@dataclass(frozen=True, slots=True)
class Errors:
    """What an operation's errors look like. `of_codes` narrows the type's schema to a status and its codes."""

    type: Any
    media_type: str
    of_codes: Callable[[int, Sequence[str]], dict[str, Any]]


def _problem_of_codes(status: int, codes: Sequence[str]) -> dict[str, Any]:
    return {"properties": {"status": {"const": status}, "code": {"enum": list(codes)}}}


PROBLEMS = Errors(ProblemBody, PROBLEM_JSON, _problem_of_codes)


@dataclass(frozen=True, slots=True)
class Parameter:
    """In the query or a header. `type` is anything that pydantic makes a schema of. Path parameters stand in the path
    already, and are needed; those named `…_id` are ids, unless they are described."""

    where: Literal["query", "header", "path"]
    name: str
    type: Any
    description: str
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A good one. `type` None: no body. `headers`: name → description. `also`: media type → type of what may come
    instead."""

    description: str
    type: Any = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Any] = field(default_factory=dict)

    @property
    def contents(self) -> dict[str, Any]:
        """Media type → type."""
        return ({self.media_type: self.type} if self.type is not None else {}) | dict(self.also)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route's caller has to know. `problems`: status → codes; none: any. `example`: a body, as JSON."""

    id: str
    summary: str
    answers: Mapping[int, Answer]
    problems: Mapping[int, Sequence[str]] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    body: Any = None
    description: str = ""
    errors: Errors = PROBLEMS
    is_guarded: bool = False
    example: Mapping[str, Any] | None = None


def document(
    operations: Iterable[tuple[str, str, Operation]], *, title: str, version: str, description: str
) -> dict[str, Any]:
    """`operations`: (method, path, operation) of each call."""
    known = list(operations)
    schemas = _Schemas(operation for _, _, operation in known)
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation in known:
        paths.setdefault(path, {})[method.lower()] = _operation(path, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "tags": [{"name": name, "description": text} for name, text, _ in TAGS],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": {name: _header(text) for name, text in _SHARED_HEADERS.items()},
            "securitySchemes": SECURITY,
            "responses": {
                f"Problem{status}": _problem(PROBLEMS, status, codes, schemas)
                for status, codes in ANYWHERE.items()
            },
        },
    }


class _Schemas:
    """Schemas of types. Named ones are components, referred to; one call of pydantic for all, so that names are unique."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [_input(ProblemBody)]
        for operation in operations:
            wanted += [_input(parameter.type) for parameter in operation.parameters]
            wanted += [_input(operation.body)] if operation.body is not None else []
            wanted += [_input(operation.errors.type)]
            wanted += [
                _input(shape) for answer in operation.answers.values() for shape in answer.contents.values()
            ]
        unique = {key: (key, mode, adapter) for key, mode, adapter in wanted}
        self._found, definitions = TypeAdapter.json_schemas(
            unique.values(), ref_template="#/components/schemas/{model}"
        )
        self.components: dict[str, Any] = definitions.get("$defs", {})

    def of(self, shape: Any) -> dict[str, Any]:
        return self._found[repr(shape), "validation"]


def _input(shape: Any) -> tuple[str, Literal["validation"], TypeAdapter[Any]]:
    return repr(shape), "validation", TypeAdapter(shape)


def _operation(path: str, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [_tag(path)],
    }
    if operation.description:
        described["description"] = operation.description
    named = {parameter.name for parameter in operation.parameters}
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", path) if name not in named]
    parameters += [_parameter(parameter, schemas) for parameter in operation.parameters]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        body: dict[str, Any] = {"schema": schemas.of(operation.body)}
        if operation.example is not None:
            body["example"] = operation.example
        described["requestBody"] = {"required": True, "content": {"application/json": body}}
    answers = {str(status): _answer(answer, schemas) for status, answer in operation.answers.items()}
    problems: dict[str, Any] = {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in ANYWHERE
    }
    for status, codes in operation.problems.items():
        problems[str(status)] = _problem(
            operation.errors, status, [*codes, *ANYWHERE.get(status, ())], schemas
        )
    if operation.is_guarded:
        described["security"] = [{name: []} for name in SECURITY] + [{}]
    described["responses"] = answers | dict(sorted(problems.items()))
    return described


def _tag(path: str) -> str:
    return next(name for name, _, beginnings in TAGS if path.startswith(beginnings))


def _path_parameter(name: str) -> dict[str, Any]:
    pattern = {"pattern": PATTERN} if name.endswith("_id") else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **pattern}}


def _parameter(parameter: Parameter, schemas: _Schemas) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": schemas.of(parameter.type),
    }
    is_needed = parameter.is_needed or parameter.where == "path"
    return described | ({"required": True} if is_needed else {})


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    own = {name: _header(text) for name, text in answer.headers.items()}
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": _shared_headers("X-Request-Id") | own,
    }
    if answer.contents:
        described["content"] = {
            media_type: {"schema": schemas.of(shape)} for media_type, shape in answer.contents.items()
        }
    return described


def _problem(errors: Errors, status: int, codes: Sequence[str], schemas: _Schemas) -> dict[str, Any]:
    narrowed = schemas.of(errors.type)
    if codes:
        narrowed = {"allOf": [narrowed, errors.of_codes(status, codes)]}
    content = {errors.media_type: {"schema": narrowed}}
    if (
        errors is not PROBLEMS and status in ANYWHERE
    ):  # what is no request yet has no route, and so no other words
        content |= _problem(PROBLEMS, status, ANYWHERE[status], schemas)["content"]
    phrase = HTTPStatus(status).phrase
    return {
        "description": f"{phrase}: {', '.join(f'`{code}`' for code in codes) or 'any code'}.",
        "headers": _shared_headers("X-Request-Id", *(["Retry-After"] if status in RETRIED else [])),
        "content": content,
    }


def _shared_headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "required": True, "schema": {"type": "string"}}
