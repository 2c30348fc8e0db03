"""What the workflow asks of the relay, by shape: rooms of one floor don't import each other, `app` hands them over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from chatmesh.protocol.records import Record, RecordHead
from chatmesh.protocol.sealing import DataKey
from chatmesh.protocol.tokens import Token


class LanePort(Protocol):
    """The way of one generation's chunks into the transcript. See `relay.lane`."""

    session_id: Token
    message_id: Token
    offset: int
    is_ended: bool

    def encode_by(self, encode: Callable[[Sequence[tuple[str, float]]], list[bytes]] | None) -> None: ...
    def say(self, text: str, unix_seconds: float) -> bool: ...
    def settle(self) -> None: ...
    def write(self, chunk: bytes, *, urgent: bool = False) -> bool: ...
    def reset(self, reason: str) -> None: ...
    def flush(self) -> None: ...
    def write_final(self, chunk: bytes) -> None: ...
    def insert_final(
        self,
        message_id: Token,
        chunk: bytes,
        request: dict[str, Any],
        traceparent: str = "",
        key: DataKey | None = None,
    ) -> bool: ...
    async def wait_room(self) -> None: ...
    async def wait_stored(self) -> None: ...
    def close(self) -> None: ...


class LanesPort(Protocol):
    """Opens lanes. See `relay.batcher`."""

    def open(
        self,
        session_id: Token,
        message_id: Token,
        *,
        token: int,
        attempt: int,
        offset: int,
        request: dict[str, Any] | None,
        is_foreign: bool,
        traceparent: str = "",
        key: DataKey | None = None,
        max_bytes: int,
    ) -> LanePort: ...


class RoutesPort(Protocol):
    """Knows where sessions are read. See `relay.router`."""

    def open(self, session_id: Token) -> None: ...
    async def learn(self, session_id: Token) -> None: ...
    def close(self, session_id: Token) -> None: ...
    def send(
        self, head: RecordHead, chunks: Sequence[bytes], seq: int, *, is_foreign: bool = False
    ) -> None: ...
    def announce(
        self, record: Record, traceparent: str, key: DataKey | None, *, is_foreign: bool = False
    ) -> None: ...
