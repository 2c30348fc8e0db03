"""Callers for tests: keys and tokens, and a mesh that asks for them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt

from chatmesh.app import Mesh
from chatmesh.identity import mint, parse_keys, render_keys
from chatmesh.protocol.callers import Scope, scopes_of
from tests.support.mesh import client_of, running

SECRET = "a secret of sixty-four bytes or more, so that no algorithm finds it too short"
SIGNING = "another secret, which pods sign with"
ISSUER, AUDIENCE = "https://issuer.test", "chatmesh"
HS = (
    "auth.mode=jwt",
    "auth.jwt.algorithms=HS256",
    f"auth.jwt.secret={SECRET}",
    f"auth.jwt.issuer={ISSUER}",
    f"auth.jwt.audience={AUDIENCE}",
    "auth.jwt.leeway_seconds=0",
    f"auth.secret={SIGNING}",
)
STREAM = {"Accept": "text/event-stream"}


def claims(user: str = "alice", **changed: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim out."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user,
        "tenant": "acme",
        "scope": "chat read",
        "exp": now + 600,
    } | changed
    return {name: value for name, value in said.items() if value is not None}


def token(user: str = "alice", **changed: Any) -> str:
    return jwt.encode(claims(user, **changed), SECRET, algorithm="HS256")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def add_key(path: Path, user: str, *, scopes: str = "chat,read", tenant: str = "acme") -> tuple[str, str]:
    """Id and key of another one in the file."""
    keys = parse_keys(path.read_text(), "keys") if path.exists() else {}
    key, secret = mint(user, tenant, scopes_of(scopes) or frozenset(Scope), None)
    path.write_text(render_keys([*keys.values(), key]))
    return key.id, secret


@asynccontextmanager
async def asking(
    url: str, *settings: str, role: str = "all", id: str | None = None
) -> AsyncIterator[tuple[Mesh, httpx.AsyncClient]]:
    """A mesh that takes tokens, and a client without one."""
    async with running(url, *HS, *settings, role=role, id=id) as mesh, client_of(mesh) as client:
        yield mesh, client


async def say(client: httpx.AsyncClient, who: str, session: str = "s", text: str = "a b", **more: Any) -> str:
    """Says it and waits for the answer, whose events it returns."""
    path = f"/v1/sessions/{session}/messages"
    answer = await client.post(
        path,
        json={"message": text, "context": {"model": "echo"}} | more,
        headers=bearer(token(who)) | STREAM,
    )
    assert answer.status_code == 200, answer.text
    return answer.text
