"""The one type for identifiers that become subject tokens: session, message, pod and worker ids.

A `*`, `>` or `.` in a subject token reads other people's messages or lands in another stream, and control characters
are stored by the server and then break every reader. So an identifier is checked here, once, and everything that builds
a subject takes a `Token` and not a `str`.
"""

from __future__ import annotations

import re
import secrets
from typing import NewType

from chatmesh.errors import ProtocolError

Token = NewType("Token", str)

PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
_VALID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def is_token(text: object) -> bool:
    """Whether `text` may stand in a subject."""
    return isinstance(text, str) and _VALID.fullmatch(text) is not None


def token(text: object, name: str) -> Token:
    """`text` as a Token; `name` (for example `session_id`) stands in the error."""
    if isinstance(text, str) and _VALID.fullmatch(text):
        return Token(text)
    got = repr(text[:40]) if isinstance(text, str) else type(text).__name__
    raise ProtocolError(
        f"{name} must match {PATTERN}, got {got}", where=name, mend="Use letters, digits, '_' and '-' only."
    )


def new_message_id() -> Token:
    """A fresh message id: 96 random bits, so that two pods never make the same one."""
    return Token(f"msg_{secrets.token_hex(12)}")


def new_session_id() -> Token:
    """A fresh session id, as random."""
    return Token(f"sess_{secrets.token_hex(12)}")


def new_correlation_id() -> str:
    """A fresh correlation id; it is no subject token, only a thread through logs and answers."""
    return f"corr_{secrets.token_hex(8)}"


def new_boot() -> str:
    """A nonce for one life of a process: what tells a restarted pod or worker from its former self."""
    return secrets.token_hex(6)
