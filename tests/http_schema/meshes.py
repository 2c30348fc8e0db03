"""A running mesh, and schemathesis' view of its document."""

from __future__ import annotations

from typing import Any

import httpx
import requests
import schemathesis
from schemathesis import Response
from schemathesis.schemas import BaseSchema

from chatmesh.app import Mesh
from chatmesh.web.described import describe
from chatmesh.web.openapi import PROBLEM_JSON


def schema_of(mesh: Mesh) -> BaseSchema:
    """Of a mesh that is up."""
    assert mesh.server is not None
    schema = schemathesis.openapi.from_dict(describe(mesh.server.routes))
    schema.config.update(base_url=mesh.server.url)
    return schema


def documented_codes(document: dict[str, Any]) -> set[tuple[int, str]]:
    """(status, code) of every problem that the document names, whatever its form."""
    found = set()
    shared = document["components"]["responses"]
    answers = [(name.removeprefix("Problem"), answer) for name, answer in shared.items()]
    for item in document["paths"].values():
        for operation in item.values():
            answers += [(status, answer) for status, answer in operation["responses"].items()]
    for status, answer in answers:
        for content in answer.get("content", {}).values():
            narrowed = content["schema"].get("allOf", [None, {}])[1].get("properties", {})
            told = narrowed.get("error", narrowed).get("properties", narrowed)
            found |= {(int(status), code) for code in told.get("code", {}).get("enum", ())}
    return found


def code_of(answer: requests.Response | httpx.Response | Response) -> str:
    """Of an error, in whichever form it is told; a sentence has none."""
    kind = answer.headers["content-type"]
    if "text/plain" in str(kind):
        return ""
    body = answer.json()
    return str(body["error"]["code"] if "error" in body else body["code"])


def form_of(path: str) -> str:
    """How the call's own problems are told."""
    if path.startswith(("/v1/responses", "/v1/chat/completions", "/v1/models")):
        return "application/json"
    return "text/plain" if path.startswith("/api/chat") else PROBLEM_JSON
