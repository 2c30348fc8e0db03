"""Reads a request as far as every format has it in common: its bounded JSON body, its trace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from chatmesh.errors import ProtocolError
from chatmesh.protocol import trace
from chatmesh.protocol.headers import TRACEPARENT
from chatmesh.protocol.tokens import Token, is_token, token
from chatmesh.web import Problem, Request, read_body


@dataclass(frozen=True, slots=True)
class IngressSettings:
    """Bounds of a request, in bytes and seconds."""

    max_body_bytes: int
    body_seconds: float


async def read_json(http: Request, settings: IngressSettings) -> bytes:
    """The body of one who says that it is JSON. Problem 415 `not_json_type`, and what `read_body` raises."""
    if http.content_type != "application/json":
        raise Problem(415, "not_json_type", f"Send application/json, not {http.content_type}.")
    return await read_body(http, max_bytes=settings.max_body_bytes, seconds=settings.body_seconds)


def traceparent_of(http: Request) -> str:
    """The client's trace; empty where it brings none."""
    return trace.parse(http.headers.getall(TRACEPARENT, [])) or ""


def token_in(http: Request, name: str) -> Token:
    """The path's id of that name. Problem 422 `invalid_id`."""
    try:
        return token(http.match_info[name], name)
    except ProtocolError as error:
        raise Problem(422, "invalid_id", str(error)) from error


def message_id_of(key: str | None) -> str | None:
    """Of an Idempotency-Key: itself where it is an id, else made of it, the same each time."""
    if key is None or is_token(key):
        return key
    return f"key_{hashlib.blake2b(key.encode(errors='surrogateescape'), digest_size=16).hexdigest()}"
