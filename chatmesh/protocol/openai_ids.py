"""A response's id names its session and its message, so that any pod finds it without a table: pure.

`resp_<length of the session id>_<session id>_<message id>`. It is no secret: who may read the session may read it.
"""

from __future__ import annotations

import re

from chatmesh.protocol.tokens import Token, is_token

PATTERN = r"^resp_[1-9][0-9]{0,2}_[A-Za-z0-9_-]{3,257}$"
_VALID = re.compile(r"resp_([1-9][0-9]{0,2})_([A-Za-z0-9_-]{3,257})")


def response_id(session_id: Token, message_id: Token) -> str:
    return f"resp_{len(session_id)}_{session_id}_{message_id}"


def read_response_id(text: str) -> tuple[Token, Token] | None:
    """Session and message; None for what `response_id` never made."""
    found = _VALID.fullmatch(text)
    if found is None:
        return None
    length, rest = int(found[1]), found[2]
    session_id, between, message_id = rest[:length], rest[length : length + 1], rest[length + 1 :]
    if between != "_" or not is_token(session_id) or not is_token(message_id):
        return None
    return Token(session_id), Token(message_id)
