"""The bodies of the wire as JSON Schemas, for people and tools that speak it without this package. `docs/protocol.md` is
the prose; `messages`, `records` and `cards` read and write the same.

Required is what a reader can't do without. All of them may have fields that are not here: readers ignore those.
"""

from __future__ import annotations

from typing import Any

from chatmesh.protocol import headers
from chatmesh.protocol.messages import CHUNK_TYPES
from chatmesh.protocol.records import MAX_RECENT, MAX_WHOLE
from chatmesh.protocol.tokens import PATTERN

Schema = dict[str, Any]

ID: Schema = {"type": "string", "pattern": PATTERN}
TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "description": "ISO 8601, UTC."}
COUNT: Schema = {"type": "integer", "minimum": 0}
WHOLE: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_WHOLE}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}


def ref(name: str) -> Schema:
    """A schema of `BODIES` by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _told(schema: Schema, description: str) -> Schema:
    return schema | {"description": description}


def _maybe(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _object(
    description: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None
) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": list(required),
        "properties": required | (optional or {}),
    }


def _load(role: str, load: str) -> dict[str, Schema]:
    return {f"{role}_id": ID, "timestamp": TIME, load: COUNT}


_BOOT = _told(TEXT, "Names this life of the process.")
_STATUS = {"enum": ["healthy", "degraded", "draining", "stopped"], "type": "string"}
_MACHINE = {
    "memory_usage_mb": NUMBER,
    "cpu_usage_percent": NUMBER,
    "boot": _BOOT,
    "status": _STATUS,
    "subscriptions": _told(COUNT, "Of the process, at the broker."),
}
_GENERATIONS = "active_generations"

_RECORD = {
    "session_id": ID,
    "message_id": ID,
    "offset": _told(WHOLE, "1, 2, 3 … within the session, without a hole."),
    "attempt": _told(WHOLE, "Of the claim."),
    "token": _told(WHOLE, "The stream sequence of the claim that it is written under."),
    "chunks": {"type": "array", "items": ref("ResponseChunk")},
}
_RESET = {
    "reset": _told(TEXT, "The text shown so far is void, and why."),
    "resets_all": _told(FLAG, "Of the whole session, not of this message alone."),
    "queue_seq": _told(
        WHOLE, "Only of the whole session: what was accepted before that place in the work queue."
    ),
}

BODIES: dict[str, Schema] = {
    "WorkflowRequest": _object(
        "What a user says, on its way to a worker.",
        {"message_id": ID, "session_id": ID, "message": TEXT},
        {
            "user_id": TEXT,
            "context": ref("Context"),
            "timestamp": TIME,
            "correlation_id": TEXT,
        },
    ),
    "Context": _object(
        "How to answer. Further keys go to the model as they are.",
        {},
        {
            "model": _told(_maybe(TEXT), "Absent: the worker's default."),
            "ai_provider": _maybe(TEXT),
            "temperature": _maybe(NUMBER),
            "max_tokens": _maybe({"type": "integer"}),
            "system_prompt": _maybe(TEXT),
            "conversation_history": _told({"type": ["array", "null"]}, "Absent: the session's own."),
            "tool_results": {"type": ["array", "null"]},
            "tokens_per_second": _maybe(NUMBER),
            "on_busy": _maybe(TEXT),
        },
    ),
    "ResponseChunk": _object(
        "A piece of an answer.",
        {
            "session_id": ID,
            "message_id": ID,
            "chunk_id": _told(COUNT, "From 0 within a message, over all attempts."),
        },
        {
            "chunk": TEXT,
            "chunk_type": {"enum": sorted(CHUNK_TYPES), "default": "content"},
            "is_final": _told(FLAG, "True exactly once in a message."),
            "metadata": _told(
                {"type": "object"}, "In the final chunk: `finish_reason`, `digest`, `spend` and more."
            ),
            "error": _object("In an error-final only.", {"code": TEXT, "message": TEXT}),
            "timestamp": TIME,
            "correlation_id": TEXT,
        },
    ),
    "ChunkBatch": _object(
        "Several pieces of one session.",
        {"session_id": ID, "chunks": {"type": "array", "items": ref("ResponseChunk")}},
    ),
    "PodHeartbeat": _object("A pod lives.", _load("pod", "active_connections"), _MACHINE),
    "WorkerHeartbeat": _object(
        "A worker lives.",
        _load("worker", "active_connections"),
        _MACHINE | {"models": {"type": "array", "items": TEXT}, _GENERATIONS: COUNT},
    ),
    "HealthRequest": _object("Any body will do, an empty one too.", {}, {"session_id": ID, "message_id": ID}),
    "PodHealth": _object(
        "A pod is well.", _load("pod", "active_connections") | {"status": _STATUS}, {"boot": _BOOT}
    ),
    "WorkerHealth": _object(
        "A worker is well.",
        _load("worker", _GENERATIONS) | {"status": _STATUS},
        {"boot": _BOOT, "holding": _told(FLAG, "Whether it is answering the message that was asked about.")},
    ),
    "Record": _object(
        "A ChunkBatch as it is stored.",
        _RECORD,
        _RESET
        | {
            "request": _object(
                "In a message's first record: what was asked.",
                {"message": TEXT, "digest": TEXT},
                {
                    "user_id": TEXT,
                    "model": _maybe(TEXT),
                    "timestamp": TIME,
                    "correlation_id": TEXT,
                    "context": {"type": "object"},
                },
            )
        },
    ),
    "LiveRecord": _object(
        "A record as pods get it.", _RECORD | {"seq": _told(WHOLE, "The record's stream sequence.")}, _RESET
    ),
    "Claim": _object(
        "Which worker may write the session's records. Its stream sequence is their token.",
        {
            "session_id": ID,
            "message_id": ID,
            "worker_id": ID,
            "boot": TEXT,
            "nonce": _told(TEXT, "Recognises one's own, where its acknowledgement was lost."),
            "attempt": WHOLE,
            "base": _told(WHOLE, "The session's offset before the message's first record."),
            "first": _told(WHOLE, "The sequence of the message's first claim; 0: this one."),
            "offset": _told(WHOLE, "The session's last offset, as the claimant knew it."),
            "timestamp": TIME,
        },
        {
            "erases": FLAG,
            "handed_over": FLAG,
            "recent": {"type": "array", "items": WHOLE, "maxItems": MAX_RECENT},
        },
    ),
    "Stop": _object(
        "The message is to be stopped.",
        {"session_id": ID, "message_id": ID, "timestamp": TIME},
        {
            "queue_seq": _told(
                WHOLE,
                "Of an erase request, which the id is of: all that was accepted before it is to be stopped.",
            )
        },
    ),
    "Erasure": _object(
        "Everything before it is no part of the session any more.",
        {"session_id": ID, "queue_seq": WHOLE, "timestamp": TIME},
    ),
    "Erased": _object(
        "What is left of a message's records, or of dead letters.", {"erased": {"const": True}}
    ),
    "Card": _object(
        "Whose a session is.",
        {"tenant": TEXT, "user": TEXT, "nonce": TEXT, "created_at": TIME},
        {"key": _told({"type": "object"}, "The wrapped data key, where bodies are sealed.")},
    ),
    "RegistryEntry": _object("A pod has readers of a session.", {"boot": TEXT}, {"released": FLAG}),
    "RetryEntry": _object("Which message a request became.", {"session_id": ID, "message_id": ID}),
    "Nonce": _told(
        {"type": "string", "pattern": "^[0-9a-f]{16}$"}, "That a ticket was used, by whoever wrote it."
    ),
    "LeasePage": _object(
        "What a worker holds of the queue.",
        {"worker_id": ID, "boot": TEXT, "leases": {"type": "array", "items": _told(TEXT, "An ack subject.")}},
    ),
    "Part": {"type": "string", "pattern": "^[0-9]{1,2}$", "description": "A part's number, 0 to 63."},
    "Nothing": {"type": "string", "maxLength": 0, "description": "An empty body."},
    "Sealed": {
        "type": "string",
        "format": "binary",
        "description": "Where there is a key ring: a line of JSON, a newline, nonce, ciphertext and tag.",
    },
}
"""By name; what is inside refers to each other by `#/components/schemas/NAME`."""

_HEADERS: dict[str, str] = {
    headers.TRACEPARENT: "W3C trace context.",
    headers.SENT: "When it was published, in Unix milliseconds.",
    headers.ERASE: "The session is to be erased; the value is the erase request's id.",
    headers.HOME: "The part of the transcript that its session lies in, where there are several.",
    headers.NEW: "Nothing of its session was stored, nor a stop of it, as far as its pod has looked or heard.",
    headers.REASON: "Why it is a dead letter.",
    headers.RETRY_OF: "The id of the message that was a dead letter.",
    headers.MSG_ID: "Stored once, however often it is sent.",
    headers.EXPECTED_SUBJECT_SEQUENCE: "Compare and set: the last sequence of the subject, or of the one named beside it.",
    headers.EXPECTED_SUBJECT: "The claim's subject: the fence.",
    headers.ROLLUP: "Replaces what the subject held.",
    headers.TTL: "Deletes itself after so many seconds.",
}


def of_headers(*names: str) -> Schema:
    """The headers of a message of ours: the version of the wire, and those named."""
    known = {name: {"type": "string", "description": _HEADERS[name]} for name in names}
    version = {"const": headers.WIRE_VERSION, "description": "Absent in messages of foreign peers."}
    return {"type": "object", "properties": {headers.WIRE: version, **known}}
