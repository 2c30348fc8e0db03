"""Who is calling, and in which session: read from a request's headers. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from chatmesh.errors import ProtocolError
from chatmesh.ingress.openai.bodies import ChatRequest
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.tokens import Token, token
from chatmesh.web import Problem

SESSION = "X-Session-Id"
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
            return named(text, name)
    return None


def named(text: str, place: str) -> Token:
    """The session that a client names at that place. Problem 422 `invalid_id`."""
    try:
        return token(text, place)
    except ProtocolError as error:
        raise Problem(422, "invalid_id", str(error), more={"param": place}) from error


def _open_webui_chat(text: str | None) -> str | None:
    """Its temporary chats are `local`, or `local:` and what is none of our ids: nobody comes back to them, and those of
    different people are called the same."""
    return None if text is None or text.partition(":")[0] == "local" else text


def user_of(headers: Mapping[str, str], body: ChatRequest) -> str:
    return clean_text(body.user or headers.get(OPEN_WEBUI_USER, ""))[:_MAX_USER_ID]
