"""A server's configuration with one user for each process, and the file of each process: text, from the grants. Pure.

Two accounts. `STREAMS` has JetStream; `CHATMESH` has the processes and imports of the other one exactly the calls that
they make. A reply subject is not checked against anybody's permissions: in one account whoever may read a stream could
have what he reads sent to `$JS.API.STREAM.DELETE.…`, or into another stream. Out of the other account an answer comes
back as a message of `CHATMESH`, where no stream listens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chatmesh.broker.streams import StreamSpec
from chatmesh.operate.permissions import (
    API,
    DEPLOYER,
    OPERATOR,
    POD,
    STREAM_MAKER,
    WORKER,
    Needs,
    filled,
    matches,
)

IMPORTED_API = "$CHAT.API"
"""What JetStream's API is called in the account of the processes: under its own name that account's own JetStream, which
is off, would answer too."""

Role = Literal["pod", "worker", "monitor", "deploy"]

GRANTS: dict[Role, Needs] = {
    "pod": POD,
    "worker": WORKER,
    "monitor": OPERATOR,
    "deploy": DEPLOYER + STREAM_MAKER,
}

_MANY_ANSWERS = (f"{API}.DIRECT.GET.*", f"{API}.CONSUMER.MSG.NEXT.")
_ANSWERS_WITHIN = "60s"
"""The server forgets a question without an end so long after its last answer; a pull asks for 30 s."""


@dataclass(frozen=True, slots=True)
class User:
    """One process, and the public key that it is known by."""

    role: Role
    id: str
    public_key: str

    @property
    def permissions(self) -> dict[str, Any]:
        """What the server lets it do: allow-lists, and no right to answer whatever asks."""
        api = API if self.role == "deploy" else IMPORTED_API
        needs = GRANTS[self.role]
        return {
            "publish": {"allow": [filled(entry, self.id, api) for entry in needs.publish]},
            "subscribe": {"allow": [filled(entry, self.id, api) for entry in needs.subscribe]},
        }


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens and stores. `tls`: a folder with server.pem, server-key.pem and ca.pem."""

    host: str
    port: int
    store: Path
    tls: Path | None = None

    @property
    def url(self) -> str:
        scheme = "nats" if self.tls is None else "tls"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def processes(pods: int, workers: int) -> list[tuple[Role, str]]:
    """Every process with an id of its own."""
    return [
        *(("pod", f"pod-{number}") for number in range(1, pods + 1)),
        *(("worker", f"worker-{number}") for number in range(1, workers + 1)),
        ("monitor", "monitor"),
        ("deploy", "deploy"),
    ]


def server_configuration(server: Server, users: Sequence[User], streams: Sequence[StreamSpec]) -> str:
    """The nats-server's file. No secret is in it."""
    services = list(imported(streams))
    values: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "jetstream": {"store_dir": str(server.store), "sync_interval": "always"},
        "accounts": {
            "STREAMS": {
                "jetstream": "enabled",
                "users": [_user(user) for user in users if user.role == "deploy"],
                "exports": [_export(subject) for subject in services],
            },
            "CHATMESH": {
                "users": [_user(user) for user in users if user.role != "deploy"],
                "imports": [_import(subject) for subject in services],
            },
            "SYS": {},
        },
        "system_account": "SYS",
    }
    if server.tls is not None:
        names = {"cert_file": "server.pem", "key_file": "server-key.pem", "ca_file": "ca.pem"}
        values["tls"] = {key: str(server.tls / name) for key, name in names.items()}
    head = "# Made by `chatmesh natsconf`: one user for each process, with what it needs and nothing else.\n"
    return head + "".join(f"{key}: {_text(value)}\n" for key, value in values.items())


def process_configuration(role: Role, id: str, server: Server, seed_file: Path, http_port: int) -> str:
    """The YAML file of one process."""
    lines = [
        "# Made by `chatmesh natsconf`.",
        f"id: {id}",
        f"roles: [{role}]"
        if role in ("pod", "worker")
        else f"# For commands run by the {role} user; no process.",
        "nats:",
        f"  servers: [{json.dumps(server.url)}]",
        f"  nkey_seed_file: {json.dumps(str(seed_file))}",
    ]
    if role != "deploy":
        lines.append(f"  jetstream_api: {json.dumps(IMPORTED_API)}")
    if server.tls is not None:
        lines.append(f"  tls: {{ca_file: {json.dumps(str(server.tls / 'ca.pem'))}}}")
    if role == "pod":
        lines += ["http:", f"  port: {http_port}"]
    return "\n".join(lines) + "\n"


def imported(streams: Sequence[StreamSpec]) -> Iterator[str]:
    """What of the account with the streams the processes call: JetStream, and whatever a stream stores."""
    entries = [entry for needs in (POD, WORKER, OPERATOR) for entry in needs.publish]
    yield from dict.fromkeys(entry for entry in entries if entry.startswith("$"))
    stored = [subject for stream in streams for subject in stream.subjects]
    yield from (
        subject
        for subject in stored
        if any(matches(subject, filled(entry, "*")) for entry in entries if not entry.startswith("$"))
    )


def _user(user: User) -> dict[str, Any]:
    return {"nkey": user.public_key, "permissions": user.permissions}


def _export(subject: str) -> dict[str, Any]:
    if subject.startswith(_MANY_ANSWERS):
        return {"service": subject, "response_type": "Stream", "response_threshold": _ANSWERS_WITHIN}
    return {"service": subject}


def _import(subject: str) -> dict[str, Any]:
    service = {"service": {"account": "STREAMS", "subject": subject}}
    to = filled(subject, "", IMPORTED_API)
    return service if to == subject else service | {"to": to}


def _text(value: Any, indent: str = "") -> str:
    """In the server's format: what is short on one line."""
    one_line = json.dumps(value)
    if not isinstance(value, dict | list) or len(one_line) < 100:
        return one_line
    deeper = indent + "  "
    if isinstance(value, list):
        return "[\n" + "".join(f"{deeper}{_text(each, deeper)}\n" for each in value) + f"{indent}]"
    return (
        "{\n"
        + "".join(f"{deeper}{key}: {_text(each, deeper)}\n" for key, each in value.items())
        + f"{indent}}}"
    )
