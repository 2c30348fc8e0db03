"""Writes docs/asyncapi.yaml anew: `python -m chatmesh.operate.asyncapi [FILE]`. What stands on NATS, as an AsyncAPI document.

Made of the declarations: subjects, streams, schemas of the bodies. In: nothing. Out: AsyncAPI 3.0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import chatmesh
from chatmesh.broker import streams
from chatmesh.protocol import headers, schemas, subjects
from chatmesh.protocol.tokens import Token

HEAD = """\
# What stands on NATS. Made of the code's declarations by `python -m chatmesh.operate.asyncapi`; protocol.md is the prose.
"""

_SESSION, _MESSAGE = Token("{session_id}"), Token("{message_id}")
_POD, _WORKER = Token("{pod_id}"), Token("{worker_id}")

_IDS: Mapping[str, str] = {
    "session_id": "A session.",
    "message_id": "A message, unique in its session.",
    "pod_id": "A pod.",
    "worker_id": "A worker.",
    "owner": "A hash of tenant and user.",
    "key": "A hash of a request.",
    "ticket_id": "A ticket.",
}

_FENCE = (headers.MSG_ID, headers.EXPECTED_SUBJECT_SEQUENCE, headers.EXPECTED_SUBJECT, headers.ROLLUP)
_LIVE = (headers.TRACEPARENT, headers.SENT)

DESCRIPTION = (
    "Pods take messages and stream answers, workers answer; they meet on NATS only. Public channels are for pods and workers "
    "of other people too; the others are chatmesh's own and may change with the version of the wire (Chatmesh-Wire). Bodies "
    "are JSON in UTF-8. Readers ignore unknown fields."
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A subject with its bodies, by the names of their schemas. `send` and `receive`: which of pod, worker and operator do.
    `headers`: those that its messages may have beside the wire's version. `reply`: the body of the answer."""

    name: str
    subject: str
    summary: str
    bodies: Sequence[str]
    send: Sequence[str]
    receive: Sequence[str]
    headers: Sequence[str] = ()
    reply: str = ""
    is_public: bool = False


CHANNELS = (
    Channel(
        "requests",
        subjects.execute(_SESSION),
        "What users say, in the order of acceptance.",
        ("WorkflowRequest", "Sealed"),
        ("pod",),
        ("worker",),
        (
            headers.MSG_ID,
            headers.EXPECTED_SUBJECT_SEQUENCE,
            headers.TRACEPARENT,
            headers.ERASE,
            headers.HOME,
            headers.NEW,
            headers.RETRY_OF,
        ),
        is_public=True,
    ),
    Channel(
        "responses",
        subjects.response(_POD),
        "Answers for the readers of one pod.",
        ("LiveRecord", "ChunkBatch", "ResponseChunk", "Sealed"),
        ("worker",),
        ("pod",),
        _LIVE,
        is_public=True,
    ),
    Channel(
        "broadcasts",
        subjects.broadcast(_SESSION),
        "Answers for whoever has readers of the session.",
        ("LiveRecord", "ChunkBatch", "ResponseChunk", "Sealed"),
        ("worker",),
        ("pod",),
        _LIVE,
        is_public=True,
    ),
    Channel(
        "podHealth",
        subjects.pod_health(_POD),
        "Is this pod well?",
        ("HealthRequest", "Nothing"),
        ("operator", "pod"),
        ("pod",),
        reply="PodHealth",
        is_public=True,
    ),
    Channel(
        "workerHealth",
        subjects.worker_health(_WORKER),
        "Is this worker well, and does it hold a message?",
        ("HealthRequest", "Nothing"),
        ("operator", "worker"),
        ("worker",),
        reply="WorkerHealth",
        is_public=True,
    ),
    Channel(
        "podHeartbeats",
        subjects.pod_heartbeat(_POD),
        "A pod lives.",
        ("PodHeartbeat",),
        ("pod",),
        ("worker",),
        is_public=True,
    ),
    Channel(
        "workerHeartbeats",
        subjects.worker_heartbeat(_WORKER),
        "A worker lives.",
        ("WorkerHeartbeat",),
        ("worker",),
        ("pod", "worker"),
        is_public=True,
    ),
    Channel(
        "claims",
        subjects.claim(_SESSION),
        "Who may write the session's records.",
        ("Claim",),
        ("worker",),
        ("worker", "pod"),
        (headers.MSG_ID, headers.EXPECTED_SUBJECT_SEQUENCE),
    ),
    Channel(
        "transcript",
        subjects.transcript(_SESSION, _MESSAGE),
        "The stored answer of one message.",
        ("Record", "Erased", "Sealed"),
        ("worker",),
        ("pod", "worker"),
        (headers.TRACEPARENT, *_FENCE),
    ),
    Channel(
        "stops",
        subjects.stop(_SESSION, _MESSAGE),
        "A message is to be stopped.",
        ("Stop",),
        ("pod",),
        ("worker",),
        (headers.MSG_ID,),
    ),
    Channel(
        "erasures",
        subjects.erased(_SESSION),
        "A session was erased.",
        ("Erasure",),
        ("pod", "worker"),
        ("pod", "worker"),
        (headers.MSG_ID,),
    ),
    Channel(
        "cards",
        subjects.card(_SESSION),
        "Whose a session is.",
        ("Card", "Nothing"),
        ("pod",),
        ("pod", "worker"),
        (headers.EXPECTED_SUBJECT_SEQUENCE, headers.ROLLUP),
    ),
    Channel(
        "homes",
        subjects.home(_SESSION),
        "In which part of the transcript a session lies, where there are several.",
        ("Part",),
        ("pod", "worker"),
        ("pod", "worker"),
        (headers.EXPECTED_SUBJECT_SEQUENCE,),
    ),
    Channel(
        "owned",
        subjects.owned(Token("{owner}"), _SESSION),
        "That a session may be that owner's.",
        ("Nothing",),
        ("pod",),
        ("pod",),
        (headers.TTL,),
    ),
    Channel(
        "registry",
        subjects.registry(_SESSION, _POD),
        "That a pod has readers of a session.",
        ("RegistryEntry",),
        ("pod",),
        ("worker",),
        (headers.TTL,),
    ),
    Channel(
        "retries",
        subjects.retry(Token("{key}")),
        "Which message a request of OpenAI's clients became.",
        ("RetryEntry", "Nothing"),
        ("pod",),
        ("pod",),
        (headers.TTL,),
    ),
    Channel(
        "tickets",
        subjects.spent(Token("{ticket_id}")),
        "That a ticket was used.",
        ("Nonce",),
        ("pod",),
        ("pod",),
        (headers.TTL, headers.EXPECTED_SUBJECT_SEQUENCE),
    ),
    Channel(
        "deadLetters",
        subjects.dead_letter(_SESSION),
        "Requests that could not be answered, as they came.",
        ("WorkflowRequest", "Sealed", "Erased"),
        ("worker",),
        ("operator",),
        (headers.MSG_ID, headers.REASON, headers.ROLLUP),
    ),
    Channel(
        "leases",
        subjects.worker_leases(_WORKER),
        "What a worker holds of the queue.",
        ("LeasePage",),
        ("worker",),
        ("worker",),
    ),
)

_HEADERS_OF = "headers-of-{}"

HEADLESS = ("podHealth", "workerHealth")
"""Channels where anybody asks, with no header of ours."""


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    replies = {f"{each.name}Replies": _reply(each) for each in CHANNELS if each.reply}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "chatmesh on NATS",
            "version": f"{chatmesh.__version__}",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "With JetStream."}},
        "channels": {each.name: _channel(each) for each in CHANNELS} | replies,
        "operations": {name: body for each in CHANNELS for name, body in _operations(each).items()},
        "components": {
            "schemas": schemas.BODIES | _headers(),
            "parameters": {name: {"description": text} for name, text in _IDS.items()},
        },
    }


def render() -> str:
    """The file."""
    return HEAD + yaml.dump(
        document(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )


class _Plain(yaml.SafeDumper):
    """Writes the same again where it stands twice: nobody reads anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _channel(channel: Channel) -> dict[str, Any]:
    described: dict[str, Any] = {
        "address": channel.subject,
        "summary": channel.summary,
        "messages": {name: _message(channel, name) for name in channel.bodies},
        "parameters": {
            name: {"$ref": f"#/components/parameters/{name}"}
            for name in re.findall(r"{(\w+)}", channel.subject)
        },
        "tags": [{"name": "public" if channel.is_public else "own"}],
    }
    if (stream := _stored(channel)) is not None:
        described["x-jetstream"] = stream
    return described


def _message(channel: Channel, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "payload": schemas.ref(name)}
    if channel.name not in HEADLESS:
        described["headers"] = schemas.ref(_HEADERS_OF.format(channel.name))
    if name in {"Sealed", "Nothing", "Nonce", "Part"}:
        described["contentType"] = "application/octet-stream"
    return described


def _headers() -> dict[str, Any]:
    return {
        _HEADERS_OF.format(each.name): schemas.of_headers(*each.headers)
        for each in CHANNELS
        if each.name not in HEADLESS
    } | {_HEADERS_OF.format("replies"): schemas.ref(_HEADERS_OF.format("replies"))}


def _reply(channel: Channel) -> dict[str, Any]:
    message = {"name": channel.reply, "payload": schemas.ref(channel.reply), "headers": schemas.of_headers()}
    return {"address": None, "messages": {channel.reply: message}, "tags": [{"name": "public"}]}


def _operations(channel: Channel) -> dict[str, Any]:
    return {
        f"{role}{action.capitalize()}s{channel.name[0].upper()}{channel.name[1:]}": _operation(
            channel, action, role
        )
        for action, roles in (("send", channel.send), ("receive", channel.receive))
        for role in roles
    }


def _operation(channel: Channel, action: str, role: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "tags": [{"name": role}],
    }
    if channel.reply:
        described["reply"] = {"channel": {"$ref": f"#/channels/{channel.name}Replies"}}
    return described


def _stored(channel: Channel) -> dict[str, Any] | None:
    """The stream that keeps it, if one does."""
    sample = re.sub(r"{\w+}", "x", channel.subject)
    whole = streams.StreamSettings(1, 24 * 3600, 168 * 3600, 1, 1, 1, 1, 1, 1)
    # What there is only where the transcript lies in parts comes behind.
    for spec in (*streams.declared(whole), *streams.declared(replace(whole, partitions=2))):
        if any(_matches(pattern, sample) for pattern in spec.subjects):
            kept = {"stream": spec.name, "retention": spec.retention, "discard": spec.discard}
            consumer = {"consumer": streams.CONSUMER} if spec.name == streams.REQUESTS else {}
            return kept | consumer
    return None


def _matches(pattern: str, subject: str) -> bool:
    return re.fullmatch(pattern.replace(".", r"\.").replace("*", "[^.]+"), subject) is not None


def main(arguments: list[str]) -> int:
    """Right at the root of the project without a file."""
    Path(arguments[0] if arguments else "docs/asyncapi.yaml").write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
