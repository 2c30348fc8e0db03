"""Whom to talk to, and as whom: from arguments and environment."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from chatmesh.cli.named import named
from chatmesh.errors import ConfigError
from chatmesh.protocol.tokens import new_session_id

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass
class Target:
    """A mesh, a session and what goes into each message's context. `token` is a secret: shown nowhere."""

    urls: list[str]
    session_id: str
    context: dict[str, str]
    token: str | None = field(repr=False)
    is_new: bool


def target(namespace: argparse.Namespace) -> Target:
    """Raises ConfigError for what can't be meant."""
    given = namespace.url or [part for part in os.environ.get("CHATMESH_URL", "").split(",") if part.strip()]
    session_id = None if namespace.session is None else named(namespace.session, "--session")
    context = {"model": namespace.model, "system_prompt": namespace.system}
    return Target(
        [_url(text) for text in given or [DEFAULT_URL]],
        session_id or new_session_id(),
        {name: value for name, value in context.items() if value is not None},
        _token(namespace.token_file),
        is_new=session_id is None,
    )


def _url(text: str) -> str:
    mend = f"Give one like {DEFAULT_URL}."
    try:
        parts = urlsplit(text.strip())
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigError(f"--url expects the URL of a pod, got {text!r}", mend=mend)
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        raise ConfigError(
            "--url takes no user, password, query or fragment",
            mend=f"{mend} A token goes into --token-file or CHATMESH_TOKEN.",
        )
    return text.strip().rstrip("/")


def _token(file: Path | None) -> str | None:
    """The bearer token: of the file, else of the environment."""
    where = "CHATMESH_TOKEN" if file is None else str(file)
    try:
        text = os.environ.get("CHATMESH_TOKEN") if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        mend = "Give a file with the token and nothing else, or set CHATMESH_TOKEN."
        raise ConfigError(f"can't read the token ({why})", where=where, mend=mend) from error
    if text is None or (file is None and not text.strip()):
        return None
    secret = text.strip()
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(
            "expected one token, in one line of ASCII without spaces, got something else", where=where
        )
    return secret
