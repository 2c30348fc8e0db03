"""Who is calling, and what for: the words in which identity, web, ingress and hub tell each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chatmesh.errors import ProtocolError
from chatmesh.protocol.cards import Card
from chatmesh.protocol.tokens import Token

MAX_NAME = 256
"""Characters of a user or a tenant: what `user_id` takes."""


class Scope(StrEnum):
    """What a caller may do. `chat` includes `read`; `operate` shows figures, and nobody's messages."""

    CHAT = "chat"
    READ = "read"
    OPERATE = "operate"


class Access(StrEnum):
    """What a route asks for. OPEN: nobody is asked who is calling. NOBODY is what a route has that says nothing."""

    OPEN = "open"
    CHAT = "chat"
    READ = "read"
    OPERATE = "operate"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Caller:
    """`expires_at` is in Unix seconds. `key_id` names the API key, which may be revoked. `session_id` and `nonce` narrow a
    caller to one session, read only: whoever was given a link to it."""

    tenant: str
    user: str
    scopes: frozenset[Scope]
    expires_at: float | None = None
    key_id: str | None = None
    session_id: Token | None = None
    nonce: str | None = None

    def may(self, access: Access) -> bool:
        match access:
            case Access.OPEN:
                return True
            case Access.READ:
                return bool(self.scopes & {Scope.READ, Scope.CHAT})
            case Access.CHAT:
                return Scope.CHAT in self.scopes
            case Access.OPERATE:
                return Scope.OPERATE in self.scopes
        return False

    def may_see(self, session_id: Token, card: Card | None) -> bool:
        """Whether the session of that card is the caller's, or was shown to it. One without a card is nobody's."""
        if card is None:
            return False
        if self.session_id is not None:
            return self.session_id == session_id and bool(card.nonce) and card.nonce == self.nonce
        return card.is_of(self.tenant, self.user)


ANYBODY = Caller("", "", frozenset(Scope))
"""Where nobody is asked."""


def name_of(text: object, what: str) -> str:
    """A user's or a tenant's name. Raises ProtocolError."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME or not text.isprintable():
        raise ProtocolError(f"{what} must be 1 to {MAX_NAME} printable characters")
    return text


def scopes_of(raw: object) -> frozenset[Scope]:
    """Of a text with spaces or commas between, or a list of texts. What is none of ours is left out: a token may have been
    made for others too."""
    words: Iterable[object] = ()
    if isinstance(raw, str):
        words = raw.replace(",", " ").split()
    elif isinstance(raw, list):
        words = raw
    return frozenset(Scope(word) for word in words if isinstance(word, str) and word in set(Scope))
