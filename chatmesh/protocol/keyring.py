"""The key ring: the keys that wrap the data keys of sessions. Pure.

One of them is current and wraps what is new; the others still open what they have wrapped. The file is JSON:
`{"current": id, "keys": {id: {"key": base64 of 32 bytes, "created_at": RFC 3339}}}`.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from chatmesh.errors import ConfigError, KeyMissingError, ProtocolError
from chatmesh.protocol import jsontext, sealing
from chatmesh.protocol.cards import Card
from chatmesh.protocol.tokens import Token

MEND = "Make one with `chatmesh keyring new --file FILE`, or take the one that the other processes have."


@dataclass(frozen=True, slots=True)
class RingKey:
    id: str
    secret: bytes
    created_at: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"RingKey({self.id})"


@dataclass(frozen=True, slots=True)
class KeyRing:
    keys: Mapping[str, RingKey]
    current: str

    @property
    def _current(self) -> RingKey:
        return self.keys[self.current]

    def with_new_key(self, session_id: Token, card: Card) -> Card:
        """The card with a data key of its own, wrapped by the current key."""
        return self._wrapped(session_id, card, secrets.token_bytes(sealing.KEY_BYTES))

    def rewrapped(self, session_id: Token, card: Card) -> Card:
        """The card with the same data key, wrapped by the current key. Raises as `data_key`."""
        return self._wrapped(session_id, card, self._unwrapped(session_id, card))

    def wraps(self, card: Card) -> bool:
        """Whether the card's key is wrapped by the current key."""
        return card.key is not None and card.key.get("id") == self.current

    def data_key(self, session_id: Token, card: Card) -> sealing.DataKey:
        """Raises KeyMissingError where the ring lacks the key that wrapped it, or the card has none; ProtocolError where the
        card was changed."""
        return sealing.DataKey(session_id, card.nonce, self._unwrapped(session_id, card))

    def _unwrapped(self, session_id: Token, card: Card) -> bytes:
        known = card.key or {}
        ring_key = self.keys.get(str(known.get("id")))
        if card.key is None:
            raise KeyMissingError(
                "the session has no data key", where=session_id, mend="Its next message gives it one."
            )
        if ring_key is None:
            raise KeyMissingError(
                f"the key ring lacks the key {known.get('id')!r:.80}",
                where="sealing.key_ring",
                mend="Add it: the process that began the session has it.",
            )
        return sealing.unwrap(ring_key.secret, str(known.get("wrapped")), _about(session_id, card))

    def _wrapped(self, session_id: Token, card: Card, data_key: bytes) -> Card:
        wrapped = sealing.wrap(self._current.secret, data_key, _about(session_id, card))
        return replace(card, key={"id": self.current, "wrapped": wrapped})


def _about(session_id: Token, card: Card) -> bytes:
    """Whose card it is: one that names another owner, or another session's, brings no key."""
    return orjson.dumps([session_id, card.tenant, card.user, card.nonce])


def new_key(created_at: str) -> RingKey:
    return RingKey(f"k_{secrets.token_hex(4)}", secrets.token_bytes(sealing.KEY_BYTES), created_at)


def with_key(ring: KeyRing | None, key: RingKey, *, is_current: bool) -> KeyRing:
    """The ring and one key more; the first key is current in any case."""
    keys = dict(ring.keys) if ring is not None else {}
    return KeyRing(keys | {key.id: key}, key.id if is_current or ring is None else ring.current)


def parse_ring(text: str, where: str) -> KeyRing:
    """Raises ConfigError; never with a key in it."""
    try:
        body = jsontext.decode_object(text, "the key ring")
        keys, current = body.get("keys"), body.get("current")
        if not (isinstance(keys, dict) and keys and isinstance(current, str)):
            raise ProtocolError("the key ring needs `keys`, an object with one at least, and `current`")
        ring = KeyRing({name: _ring_key(name, entry) for name, entry in keys.items()}, current)
    except ProtocolError as error:
        raise ConfigError(error.what, where=where, mend=MEND) from error
    if current not in ring.keys:
        raise ConfigError(
            f"the current key {current!r:.80} is not among the keys", where=where, mend="Name one of `keys`."
        )
    return ring


def _ring_key(name: str, entry: Any) -> RingKey:
    known = entry if isinstance(entry, dict) else {}
    try:
        secret = base64.b64decode(str(known.get("key")), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if len(secret) != sealing.KEY_BYTES:
        raise ProtocolError(f"the key {name!r:.80} is not base64 of {sealing.KEY_BYTES} bytes")
    return RingKey(name, secret, str(known.get("created_at", "")))


def render_ring(ring: KeyRing) -> str:
    keys = {
        key.id: {"key": base64.b64encode(key.secret).decode(), "created_at": key.created_at}
        for key in ring.keys.values()
    }
    text = orjson.dumps({"current": ring.current, "keys": keys}, option=orjson.OPT_INDENT_2).decode()
    return f"{text}\n"
