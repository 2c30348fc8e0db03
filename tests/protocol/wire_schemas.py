"""What docs/asyncapi.yaml says of a message: which channel its subject is, and what is wrong with it there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from jsonschema_rs import Draft7Validator

from chatmesh.operate.asyncapi import document

DOCUMENT = document()
_SCHEMAS = {"components": {"schemas": DOCUMENT["components"]["schemas"]}}


def body_faults(name: str, body: object) -> list[str]:
    """What schema `name` has against a body, and its fields that are in no schema."""
    validator = Draft7Validator(_SCHEMAS | {"$ref": f"#/components/schemas/{name}"})
    return [str(error.message) for error in validator.iter_errors(body)] + [*_unknown(name, body)]


def _unknown(name: str, body: object) -> list[str]:
    properties = _SCHEMAS["components"]["schemas"][name].get("properties")
    if (
        not isinstance(body, dict) or properties is None or name == "Context"
    ):  # that one takes what models take
        return []
    found = [f"{name} has no {key}" for key in body if key not in properties]
    for chunk in body.get("chunks", ()):
        found += _unknown("ResponseChunk", chunk)
    return found


def channel_of(subject: str) -> str:
    """The one channel of a subject."""
    found = [
        name
        for name, channel in DOCUMENT["channels"].items()
        if channel["address"] and re.fullmatch(_pattern(channel["address"]), subject)
    ]
    # The registry's own entries are three tokens too, but for the `~`, which no id has.
    assert len(found) == 1, f"{subject}: {found}"
    return found[0]


def _pattern(address: str) -> str:
    return re.sub(r"\\{\w+\\}", "[A-Za-z0-9_-]+", re.escape(address))


def faults(subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[str, str, list[str]]:
    """Channel and body's name of a message, and what is wrong with it: none of the bodies fits, or a header is undeclared."""
    channel = channel_of(subject)
    messages = DOCUMENT["channels"][channel]["messages"]
    value = json.loads(body) if body[:1] == b"{" else body.decode()
    tried = {name: body_faults(name, value) for name in messages}
    name = min(tried, key=lambda name: len(tried[name]))
    schema = messages[name].get("headers", {"$ref": "/"})["$ref"].rpartition("/")[2]
    declared = _SCHEMAS["components"]["schemas"].get(schema, {"properties": {}})["properties"]
    undeclared = [f"no header {each}" for each in headers if each not in declared]
    return channel, name, tried[name] + undeclared
