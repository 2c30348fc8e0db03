"""A running mesh, and schemathesis' view of its document."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.schemas import BaseSchema

from chatmesh.app import Mesh
from chatmesh.web.described import describe


def schema_of(mesh: Mesh) -> BaseSchema:
    """Of a mesh that is up."""
    assert mesh.server is not None
    schema = schemathesis.openapi.from_dict(describe(mesh.server.routes))
    schema.config.update(base_url=mesh.server.url)
    return schema


def documented_codes(document: dict[str, Any]) -> set[tuple[int, str]]:
    """(status, code) of every problem that the document names."""
    found = set()
    answers = list(document["components"]["responses"].values())
    for item in document["paths"].values():
        for operation in item.values():
            answers += [answer for answer in operation["responses"].values() if "$ref" not in answer]
    for answer in answers:
        for content in answer.get("content", {}).values():
            narrowed = content["schema"].get("allOf", [None, {"properties": {}}])[1]["properties"]
            if "status" in narrowed:
                found |= {(narrowed["status"]["const"], code) for code in narrowed["code"]["enum"]}
    return found
