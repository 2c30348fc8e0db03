"""Sealed bodies: what of the mesh's messages holds text, encrypted before it is published. Pure.

    {"sealed":"record","key":"…","session_id":"…","message_id":"…"}\n  nonce (12 bytes)  ciphertext  tag (16 bytes)

AES-256-GCM under the session's data key. The line in front is what routing needs; it is authenticated with the rest (as
additional data), and readers compare it with the subject: a body that was moved to another session, message or kind of
subject does not open. Nonces are random: 2^32 bodies of one session would be too many, and a session has thousands.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext
from chatmesh.protocol.tokens import Token, token

MARK = b'{"sealed":'
KEY_BYTES = 32
NONCE_BYTES = 12
OVERHEAD_BYTES = 512
"""What sealing adds at most: two ids of 128 characters, the key's, names, nonce and tag."""


class Kind(StrEnum):
    """What is sealed, and so on which subjects it may stand."""

    REQUEST = "request"
    """In the work queue, and among the dead letters."""
    RECORD = "record"
    """In the transcript."""
    LIVE = "live"
    """A record on its way to pods."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed body, not opened: what stands in front of it is not to be believed yet. `key_id` is the session's nonce."""

    kind: str
    key_id: str
    session_id: Token
    message_id: Token
    line: bytes
    box: bytes


def is_sealed(body: bytes) -> bool:
    """Whether it claims to be."""
    return body.startswith(MARK)


def parse(body: bytes) -> Sealed:
    """Raises ProtocolError for what only claims to be sealed."""
    line, _, box = body.partition(b"\n")
    head = jsontext.decode_object(line, "the line in front of a sealed body")
    kind, key_id = head.get("sealed"), head.get("key")
    if not (isinstance(kind, str) and isinstance(key_id, str)):
        raise ProtocolError("a sealed body needs its kind and its key as text", where="sealed")
    session_id, message_id = (token(head.get(name), name) for name in ("session_id", "message_id"))
    return Sealed(kind, key_id, session_id, message_id, line, box)


class DataKey:
    """The key of one session's life; `id` tells it from an earlier or later one of the same name."""

    __slots__ = ("_cipher", "id", "session_id")

    def __init__(self, session_id: Token, id: str, secret: bytes) -> None:
        self.session_id = session_id
        self.id = id
        self._cipher = AESGCM(secret)

    def seal(self, kind: Kind, message_id: Token, body: bytes, *, is_final: bool = False) -> bytes:
        """`is_final`: the body ends its message. Said in clear, for those who wait for that without reading."""
        head: dict[str, Any] = {
            "sealed": kind,
            "key": self.id,
            "session_id": self.session_id,
            "message_id": message_id,
        }
        if is_final:
            head["is_final"] = True
        line, nonce = orjson.dumps(head), os.urandom(NONCE_BYTES)
        return b"%b\n%b%b" % (line, nonce, self._cipher.encrypt(nonce, body, line))

    def open(self, sealed: Sealed, kind: Kind) -> bytes:
        """Raises ProtocolError where it was changed, or is sealed with another key or as something else."""
        if sealed.kind != kind:
            raise ProtocolError(f"a sealed {kind} was expected, got another sealed body", where="sealed")
        nonce, ciphertext = sealed.box[:NONCE_BYTES], sealed.box[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, sealed.line)
        except (InvalidTag, ValueError) as error:
            raise ProtocolError(
                "a sealed body does not open: it was changed, or sealed with another key", where="sealed"
            ) from error


def wrap(secret: bytes, data_key: bytes, about: bytes) -> str:
    """`data_key` under a key of the key ring, as text; it opens only for the same `about`."""
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(secret).encrypt(nonce, data_key, about)).decode()


def unwrap(secret: bytes, wrapped: str, about: bytes) -> bytes:
    """Raises ProtocolError where it was changed, or `about` is about something else."""
    try:
        raw = base64.b64decode(wrapped, validate=True)
        return AESGCM(secret).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], about)
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise ProtocolError(
            "a session's data key does not open: its card was changed", where="key"
        ) from error
