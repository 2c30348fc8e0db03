"""A lane that only keeps what is written, and a provider that says what it is told to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.tokens import Token
from chatmesh.providers import Continuation, Delta, Prompt, Resume
from chatmesh.relay.batching import Draft, Encode
from chatmesh.workflow.generation import Choice
from chatmesh.workflow.generation import generate as generate_by
from chatmesh.workflow.ledger import Ledger
from chatmesh.workflow.writing import Writing
from tests.units.made import SESSION

PROMPT = Prompt("m", "hi")


class FakeLane:
    """Keeps what is written. `room` chunks fit; then `wait_room` does what it was told to."""

    def __init__(self, *, room: int = 1000, on_full: Exception | None = None) -> None:
        self.session_id, self.message_id, self.offset = SESSION, Token("m"), 0
        self.resets: list[tuple[int, str]] = []
        self.stored_at: list[int] = []
        self.written: list[dict[str, Any]] = []
        self.drafts: list[Draft] = []
        self.urgent: list[bool] = []
        self.finals = 0
        self.is_ended = False
        self.waits = 0
        self._room = room
        self._on_full = on_full

    def encode_by(self, encode: Encode | None) -> None:
        self._encode = encode

    def say(self, text: str, unix_seconds: float) -> bool:
        self.drafts.append((text, unix_seconds))
        return len(self.written) + len(self.drafts) < self._room

    def settle(self) -> None:
        drafts, self.drafts = self.drafts, []
        if drafts:
            assert self._encode is not None
            for chunk in self._encode(drafts):
                self.write(chunk)

    def write(self, chunk: bytes, *, urgent: bool = False) -> bool:
        assert not self.drafts, "encoded before what is in front of it"
        self.written.append(json.loads(chunk))
        self.urgent.append(urgent)
        return len(self.written) < self._room

    def reset(self, reason: str) -> None:
        self.resets.append((len(self.written), reason))

    def flush(self) -> None:
        return

    def write_final(self, chunk: bytes) -> None:
        self.finals += 1
        self.is_ended = True
        self.write(chunk, urgent=True)

    def insert_final(self, message_id: Token, chunk: bytes, request: dict[str, Any]) -> bool:
        return False

    async def wait_room(self) -> None:
        self.waits += 1
        if self._on_full is not None:
            raise self._on_full
        self._room += 1

    async def wait_stored(self) -> None:
        self.stored_at.append(len(self.written))

    def close(self) -> None:
        return

    @property
    def texts(self) -> list[str]:
        return [chunk["chunk"] for chunk in self.written]


class Scripted:
    """Yields or raises what it is given; notes that it was closed."""

    def __init__(
        self, *steps: Delta | BaseException, continuation: Continuation = Continuation.EXACT
    ) -> None:
        self._steps = steps
        self.continuation = continuation
        self.reads_history = False
        self.is_closed = False
        self.resume: Resume | None = None

    async def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
        self.resume = resume
        try:
            for step in self._steps:
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.is_closed = True


def writer(*, tokens: int = 0, next_id: int = 0, max_text: int = 100, told: str = "") -> ChunkEncoder:
    return ChunkEncoder(
        SESSION,
        Token("m"),
        "c",
        model="m",
        attempt=1,
        max_text=max_text,
        next_id=next_id,
        tokens=tokens,
        told=told,
    )


async def generate(
    provider: Any, prompt: Prompt, resume: Resume, lane: FakeLane, encoder: ChunkEncoder
) -> str:
    return await generate_by([Choice(provider, prompt)], resume, Writing(lane, encoder, Ledger(1)))


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
