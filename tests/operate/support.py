"""The command as a process, to its end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from chatmesh.broker.streams import DEAD_LETTERS, PRESENCE, REGISTRY, REQUESTS, SESSIONS, TRANSCRIPT
from tests.support.processes import Process

NAMES = [REQUESTS, TRANSCRIPT, SESSIONS, REGISTRY, PRESENCE, DEAD_LETTERS]

Start = Callable[..., Process]


async def finished(start: Start, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, Process]:
    """The exit code, and the process for its output."""
    process = start(*arguments, env=env)
    return await process.wait(timeout=30), process


async def ensure(start: Start, url: str, *arguments: str) -> tuple[int, Process]:
    """`chatmesh streams ensure` against that broker."""
    return await finished(start, "streams", "ensure", "--set", f"nats.servers={url}", *arguments)


async def ensure_json(start: Start, url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The same with `--json`: the exit code, and each part by its name."""
    code, process = await ensure(start, url, "--json", *arguments)
    answer = json.loads(process.stdout)
    assert answer["agrees"] is (code == 0)
    return code, {part["name"]: part for part in answer["parts"]}


def chunk(
    message_id: str, number: int, text: str = "", *, session_id: str = "s", **fields: Any
) -> dict[str, Any]:
    """A chunk of an answer, as a worker writes it."""
    return {
        "session_id": session_id,
        "message_id": message_id,
        "chunk_id": number,
        "chunk": text,
        "chunk_type": "content",
        "is_final": False,
        "metadata": {},
        "timestamp": "",
        "correlation_id": "",
    } | fields


def sha(text: str) -> str:
    """The digest of an answer with that text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
