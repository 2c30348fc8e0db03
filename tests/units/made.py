"""Records, requests and claims with only what a test is about."""

from __future__ import annotations

from typing import Any

from chatmesh.broker import HeldClaim
from chatmesh.protocol.chunks import Chunks
from chatmesh.protocol.messages import ResponseChunk, WorkflowRequest
from chatmesh.protocol.records import Claim, Record
from chatmesh.protocol.tokens import Token

SESSION = Token("sess_1")


def chunk(number: int, text: str = "x", *, message: str = "m", final: str | None = None) -> dict[str, Any]:
    """`final` is the finish reason of a final chunk."""
    return ResponseChunk(
        SESSION,
        Token(message),
        number,
        text,
        chunk_type="error" if final == "error" else "content",
        is_final=final is not None,
        metadata={} if final is None else {"finish_reason": final},
        error={"code": "c", "message": "e"} if final == "error" else None,
        timestamp=f"t{number}",
    ).wire()


def record(
    offset: int,
    *chunks: dict[str, Any],
    message: str = "m",
    reset: str | None = None,
    request: dict[str, Any] | None = None,
    attempt: int = 1,
    token: int = 1,
    seq: int | None = None,
) -> Record:
    """Lies at sequence 10 × offset unless told otherwise."""
    return Record(
        SESSION,
        Token(message),
        offset,
        attempt,
        token,
        10 * offset if seq is None else seq,
        Chunks(list(chunks)),
        request=request,
        reset=reset,
    )


def held(
    message: str = "m", *, token: int = 5, attempt: int = 1, base: int = 0, first: int = 0, offset: int = 0
) -> HeldClaim:
    claim = Claim(SESSION, Token(message), Token("w"), "boot", "nonce", attempt, base, first, offset, "t")
    return HeldClaim(claim, token)


def request(message: str = "hi", *, message_id: str = "m", **context: Any) -> WorkflowRequest:
    return WorkflowRequest(Token(message_id), SESSION, "u", message, context, "t", "c")
