"""docs/asyncapi.yaml is what the code declares, and what AsyncAPI says that such a document is."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft7Validator

from chatmesh.broker.streams import StreamSettings, declared
from chatmesh.operate.asyncapi import CHANNELS, document, render
from chatmesh.protocol import subjects
from tests.docs.pages import ROOT, page
from tests.protocol.wire_schemas import body_faults
from tests.support.node import installed

FILE = ROOT / "docs" / "asyncapi.yaml"

EXAMPLES = {
    "WorkflowRequest": ["WorkflowRequest"],
    "ResponseChunk": ["ResponseChunk"],
    "HeartbeatMessage": ["PodHeartbeat"],
    "HealthResponse": ["PodHealth"],
    "Claim": ["Claim"],
    "Lease page": ["LeasePage"],
}
"""Headings of docs/protocol.md whose examples are whole, and what they are examples of."""


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == render(), "run python -m chatmesh.operate.asyncapi"
    assert yaml.safe_load(FILE.read_text()) == document()


def test_every_subject_of_the_code_is_a_channel_and_no_other() -> None:
    made = set()
    for function in vars(subjects).values():
        if inspect.isfunction(function) and function.__annotations__["return"] == "str":
            names = inspect.signature(function).parameters
            made.add(function(*(f"{{{name}}}" for name in names)) if "subject" not in names else "")
    assert {each.subject for each in CHANNELS} == {
        subject for subject in made if subject.startswith("chat.") and not set(subject) & {"*", ">"}
    }


def test_every_channel_that_is_stored_names_its_stream() -> None:
    channels = document()["channels"]
    named = {channel["x-jetstream"]["stream"] for channel in channels.values() if "x-jetstream" in channel}
    assert named == {spec.name for spec in declared(StreamSettings(1, 1, 1, 1, 1, 1, 1, 1, 1))}
    live = {name for name, channel in channels.items() if "x-jetstream" not in channel}
    assert {name for name in live if not name.endswith("Replies")} == {
        "responses",
        "broadcasts",
        "podHealth",
        "workerHealth",
    }


@pytest.mark.parametrize("heading", EXAMPLES)
def test_examples_of_the_protocols_page_are_what_the_document_says(heading: str) -> None:
    text = page("docs/protocol.md").text.partition(f"\n### {heading}\n")[2]
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    for name in EXAMPLES[heading]:
        assert body_faults(name, example) == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("WorkflowRequest", {"message_id": "m", "session_id": "s.t", "message": "a"}),
        ("WorkflowRequest", {"message_id": "m", "session_id": "s"}),
        ("ResponseChunk", {"session_id": "s", "message_id": "m", "chunk_id": -1}),
        ("ResponseChunk", {"session_id": "s", "message_id": "m", "chunk_id": 0, "text": "a"}),
        ("ChunkBatch", {"session_id": "s", "chunks": [{"session_id": "s"}]}),
        ("Nothing", "something"),
    ],
)
def test_what_the_wire_has_no_place_for_is_found(name: str, body: Any) -> None:
    assert body_faults(name, body) != []


@pytest.mark.slow
def test_it_is_valid_by_asyncapis_own_schema() -> None:
    folder = installed(Path(__file__).parent / "node", "whether docs/asyncapi.yaml is AsyncAPI is")
    schema = json.loads(
        (folder / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json").read_text(encoding="utf-8")
    )
    validator = Draft7Validator(schema)
    assert [(error.instance_path, error.message) for error in validator.iter_errors(document())] == []
    assert not validator.is_valid(document() | {"channels": []})
