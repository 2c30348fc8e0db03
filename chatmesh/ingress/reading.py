"""Reads a request as far as every format has it in common: its bounded JSON body, its trace."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.protocol import trace
from chatmesh.protocol.headers import TRACEPARENT
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
    """The client's trace, or a fresh one."""
    return trace.parse(http.headers.getall(TRACEPARENT, [])) or trace.fresh()
