"""Which part of the transcript a new session is put into, and how its request says so.

Only new ones: where a session lies is recorded once (`chat.home.{session_id}`), and does not change while anything of it is
kept, however many parts there are later.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from chatmesh.protocol import headers
from chatmesh.protocol.tokens import Token

MAX_PARTITIONS = 64


def proposed(session_id: Token, partitions: int) -> int:
    """By CRC-32 of the id, which every language has."""
    return zlib.crc32(session_id.encode()) % partitions


def read(text: str) -> int | None:
    """A part's number; None for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 2
    return int(text) if is_number and int(text) < MAX_PARTITIONS else None


def named(message_headers: Mapping[str, str]) -> int | None:
    """The part that a request's headers name, if they do."""
    return read(message_headers.get(headers.HOME, ""))
