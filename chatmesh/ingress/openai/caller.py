"""Who is calling, in which session, and whether it is for the second time: read from a request's headers. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from chatmesh.errors import ProtocolError
from chatmesh.ingress.openai.bodies import ChatRequest
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.tokens import Token, token
from chatmesh.web import Problem

SESSION = "X-Session-Id"
RETRY_COUNT = "x-stainless-retry-count"
OPEN_WEBUI_CHAT = "X-OpenWebUI-Chat-Id"
OPEN_WEBUI_USER = "X-OpenWebUI-User-Id"

_MAX_USER_ID = 256


def session_of(headers: Mapping[str, str], body: ChatRequest) -> Token | None:
    """The session that the client names, if it does. Problem 422 `invalid_id`."""
    places = [
        (SESSION, headers.get(SESSION)),
        ("metadata.session_id", body.metadata.session_id if body.metadata is not None else None),
        (OPEN_WEBUI_CHAT, _open_webui_chat(headers.get(OPEN_WEBUI_CHAT))),
    ]
    for name, text in places:
        if text:
            try:
                return token(text, name)
            except ProtocolError as error:
                raise Problem(422, "invalid_id", str(error), more={"param": name}) from error
    return None


def _open_webui_chat(text: str | None) -> str | None:
    """Its temporary chats are `local`, or `local:` and what is none of our ids: nobody comes back to them, and those of
    different people are called the same."""
    return None if text is None or text.partition(":")[0] == "local" else text


def user_of(headers: Mapping[str, str], body: ChatRequest) -> str:
    return clean_text(body.user or headers.get(OPEN_WEBUI_USER, ""))[:_MAX_USER_ID]


def is_retry(headers: Mapping[str, str]) -> bool:
    """Whether an SDK says that it has sent this before."""
    count = headers.get(RETRY_COUNT, "")
    return count.isascii() and count.isdigit() and count.strip("0") != ""


def retry_key(
    headers: Mapping[str, str], caller: Caller, user_id: str, session_id: Token | None, data: bytes
) -> Token:
    """The same for the same body from the same caller, and for no other. One who is known may come with a fresh token."""
    credential = "" if caller.user else headers.get("Authorization", "")
    who = (credential, caller.tenant, user_id, session_id or "")
    digest = hashlib.blake2b(digest_size=16)
    for part in (*(text.encode(errors="surrogateescape") for text in who), data):
        digest.update(b"%d:%b" % (len(part), part))
    return Token(digest.hexdigest())
