"""The messages of the public protocol, field for field: WorkflowRequest, ResponseChunk, ChunkBatch, heartbeats, health.

Readers ignore unknown fields and accept absent optional ones. `decode` takes what anybody may have sent and raises
`ProtocolError` that names the field; `wire` gives the dict to encode.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext
from chatmesh.protocol.tokens import Token, token

CHUNK_TYPES = frozenset({"content", "metadata", "error", "system"})


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise ProtocolError(f"{name} must be a string, got {_kind(value)}", where=name)
    return value


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(f"{name} must be an object, got {_kind(value)}", where=name)
    return value


def _number(body: dict[str, Any], name: str) -> float:
    value = body.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{name} must be a number, got {_kind(value)}", where=name)
    return value


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProtocolError(f"{name} must be an integer of at least 0, got {_kind(value)}", where=name)
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise ProtocolError(f"{name} must be true or false, got {_kind(value)}", where=name)
    return value is True


def _kind(value: object) -> str:
    """What was got. No text: what people wrote would get into logs with the error."""
    if value is None:
        return "nothing"
    return f"{type(value).__name__} {value}" if isinstance(value, int | float) else type(value).__name__


def unwrap(body: dict[str, Any]) -> dict[str, Any]:
    """The message inside the tracing envelope `{"trace_id", "span_id", "data"}`, or `body` itself."""
    inner = body.get("data")
    return inner if "trace_id" in body and isinstance(inner, dict) else body


@dataclass(frozen=True, slots=True)
class WorkflowRequest:
    """A user's message on its way to a worker. `context` keeps unknown keys: providers have their own."""

    message_id: Token
    session_id: Token
    user_id: str
    message: str
    context: dict[str, Any]
    timestamp: str
    correlation_id: str

    @classmethod
    def decode(cls, data: bytes) -> WorkflowRequest:
        """From bytes of the execute subject, with or without the tracing envelope."""
        body = unwrap(jsontext.decode_object(data, "WorkflowRequest"))
        return cls(
            message_id=token(body.get("message_id"), "message_id"),
            session_id=token(body.get("session_id"), "session_id"),
            user_id=_text(body, "user_id", ""),
            message=_text(body, "message"),
            context=_object(body, "context"),
            timestamp=_text(body, "timestamp", ""),
            correlation_id=_text(body, "correlation_id", ""),
        )

    def wire(self) -> dict[str, Any]:
        return {
            "message_id": self.message_id,
            "session_id": self.session_id,
            "user_id": self.user_id,
            "message": self.message,
            "context": self.context,
            "timestamp": self.timestamp,
            "correlation_id": self.correlation_id,
        }

    def encode(self) -> bytes:
        return orjson.dumps(self.wire())

    def digest(self) -> str:
        """What makes two requests with one message id the same: who asks what, how. Times and traces don't count."""
        said = orjson.dumps([self.user_id, self.message, self.context], option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(said, digest_size=12).hexdigest()

    @property
    def model(self) -> str | None:
        """The model asked for, or None for the default one."""
        model = self.context.get("model")
        return model if isinstance(model, str) and model else None


@dataclass(frozen=True, slots=True)
class ResponseChunk:
    """A piece of an answer. `chunk_id` counts from 0 within a message and keeps rising over attempts."""

    session_id: Token
    message_id: Token
    chunk_id: int
    chunk: str
    chunk_type: str = "content"
    is_final: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    timestamp: str = ""
    correlation_id: str = ""

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ResponseChunk:
        """From an object that anybody may have sent."""
        chunk_type = _text(body, "chunk_type", "content")
        if chunk_type not in CHUNK_TYPES:
            raise ProtocolError(
                f"chunk_type must be one of {', '.join(sorted(CHUNK_TYPES))}, got {chunk_type!r:.40}"
            )
        error = _object(body, "error")
        return cls(
            session_id=token(body.get("session_id"), "session_id"),
            message_id=token(body.get("message_id"), "message_id"),
            chunk_id=_count(body, "chunk_id"),
            chunk=_text(body, "chunk", ""),
            chunk_type=chunk_type,
            is_final=_flag(body, "is_final"),
            metadata=_object(body, "metadata"),
            error={"code": _text(error, "code", ""), "message": _text(error, "message", "")}
            if error
            else None,
            timestamp=_text(body, "timestamp", ""),
            correlation_id=_text(body, "correlation_id", ""),
        )

    def wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "session_id": self.session_id,
            "message_id": self.message_id,
            "chunk_id": self.chunk_id,
            "chunk": self.chunk,
            "chunk_type": self.chunk_type,
            "is_final": self.is_final,
            "metadata": self.metadata,
            "timestamp": self.timestamp,
            "correlation_id": self.correlation_id,
        }
        if self.error is not None:
            body["error"] = self.error
        return body

    def encode(self) -> bytes:
        return orjson.dumps(self.wire())


@dataclass(frozen=True, slots=True)
class ChunkBatch:
    """Chunks of one session in one message, or a single chunk seen as a batch of one."""

    session_id: Token
    chunks: tuple[ResponseChunk, ...]

    @classmethod
    def decode(cls, data: bytes) -> ChunkBatch:
        """From a response or broadcast subject: a ChunkBatch (tagged or not), a ResponseChunk, enveloped or not."""
        return cls.parse(unwrap(jsontext.decode_object(data, "ChunkBatch or ResponseChunk")))

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ChunkBatch:
        chunks = body.get("chunks", body.get("Chunks"))
        if chunks is None:
            single = ResponseChunk.parse(body)
            return cls(single.session_id, (single,))
        if not isinstance(chunks, list) or not all(isinstance(chunk, dict) for chunk in chunks):
            raise ProtocolError(f"chunks must be a list of objects, got {_kind(chunks)}", where="chunks")
        session_id = token(body.get("session_id", body.get("SessionID")), "session_id")
        parsed = tuple(ResponseChunk.parse(chunk) for chunk in chunks)
        if any(chunk.session_id != session_id for chunk in parsed):
            raise ProtocolError("every chunk of a batch must be of the batch's session", where="chunks")
        return cls(session_id, parsed)

    def encode(self) -> bytes:
        return orjson.dumps(
            {"session_id": self.session_id, "chunks": [chunk.wire() for chunk in self.chunks]}
        )


@dataclass(frozen=True, slots=True)
class HeartbeatMessage:
    """A sign of life. Foreign pods send the seed's five fields; ours add their boot, state, subscriptions at the broker (None:
    not said) and (workers) models."""

    role: str
    id: Token
    timestamp: str
    active_connections: int = 0
    memory_usage_mb: float = 0.0
    cpu_usage_percent: float = 0.0
    boot: str = ""
    status: str = "healthy"
    models: tuple[str, ...] = ()
    active_generations: int = 0
    subscriptions: int | None = None

    @classmethod
    def decode(cls, data: bytes) -> HeartbeatMessage:
        body = unwrap(jsontext.decode_object(data, "HeartbeatMessage"))
        role = "worker" if "worker_id" in body else "pod"
        models = body.get("models")
        return cls(
            role=role,
            id=token(body.get(f"{role}_id"), f"{role}_id"),
            timestamp=_text(body, "timestamp", ""),
            active_connections=_count(body, "active_connections"),
            memory_usage_mb=float(_number(body, "memory_usage_mb")),
            cpu_usage_percent=float(_number(body, "cpu_usage_percent")),
            boot=_text(body, "boot", ""),
            status=_text(body, "status", "healthy"),
            models=tuple(name for name in models if isinstance(name, str))
            if isinstance(models, list)
            else (),
            active_generations=_count(body, "active_generations"),
            subscriptions=None if body.get("subscriptions") is None else _count(body, "subscriptions"),
        )

    def encode(self) -> bytes:
        body: dict[str, Any] = {
            f"{self.role}_id": self.id,
            "timestamp": self.timestamp,
            "active_connections": self.active_connections,
            "memory_usage_mb": self.memory_usage_mb,
            "cpu_usage_percent": self.cpu_usage_percent,
            "boot": self.boot,
            "status": self.status,
        }
        if self.role == "worker":
            body |= {"models": list(self.models), "active_generations": self.active_generations}
        if self.subscriptions is not None:
            body["subscriptions"] = self.subscriptions
        return orjson.dumps(body)


@dataclass(frozen=True, slots=True)
class HealthResponse:
    """The answer to a health request. `load` is active connections of a pod, active generations of a worker."""

    role: str
    id: Token
    status: str
    load: int
    timestamp: str
    boot: str = ""
    holding: bool | None = None

    @classmethod
    def decode(cls, data: bytes) -> HealthResponse:
        body = unwrap(jsontext.decode_object(data, "HealthResponse"))
        role = "worker" if "worker_id" in body else "pod"
        holding = body.get("holding")
        return cls(
            role=role,
            id=token(body.get(f"{role}_id"), f"{role}_id"),
            status=_text(body, "status", ""),
            load=_count(body, "active_generations" if role == "worker" else "active_connections"),
            timestamp=_text(body, "timestamp", ""),
            boot=_text(body, "boot", ""),
            holding=holding if isinstance(holding, bool) else None,
        )

    def wire(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            f"{self.role}_id": self.id,
            "status": self.status,
            "active_generations" if self.role == "worker" else "active_connections": self.load,
            "timestamp": self.timestamp,
            "boot": self.boot,
        }
        if self.holding is not None:
            body["holding"] = self.holding
        return body

    def encode(self) -> bytes:
        return orjson.dumps(self.wire())
