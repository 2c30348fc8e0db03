"""JSON at the edge: strict on the way in, never failing on the way out.

orjson loads documents nested a thousand levels deep but dumps only 254, and refuses lone surrogates. What comes from
outside is therefore measured once, here, and what passes can be written again.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from chatmesh.errors import ProtocolError

MAX_DEPTH = 32
"""Deeper than any honest request (tool schemas reach about 12), shallow enough for every encoder in the chain."""

_MOST_DIGITS = 20
"""Of an integer of 64 bits, with its sign."""


def decode(data: bytes | str, what: str) -> Any:
    """The value in `data`; raises ProtocolError that names `what` where it is no JSON or nested too deep."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"{what} is not valid JSON: {error}") from error
    check_depth(value, what)
    return value


def decode_object(data: bytes | str, what: str) -> dict[str, Any]:
    """Like `decode`, where only an object will do."""
    value = decode(data, what)
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} must be a JSON object, got {type(value).__name__}")
    return value


def check_interoperable(data: bytes) -> None:
    """Raises ProtocolError where two readers of `data` would understand different things (RFC 7493): a key that is twice
    in one object, an integer past 64 bits. For JSON that `decode` takes; the rest of it is checked there."""
    json.loads(data, object_pairs_hook=_check_keys, parse_int=_check_integer)


def _check_keys(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise ProtocolError(f"the key {name!r:.80} is there twice in one object")
        seen.add(name)


def _check_integer(digits: str) -> None:
    if len(digits) > _MOST_DIGITS or not -(2**63) <= int(digits) < 2**64:
        raise ProtocolError(f"the integer {digits:.40} does not fit into 64 bits")


def check_depth(value: Any, what: str, limit: int = MAX_DEPTH) -> None:
    """Raises ProtocolError where `value` is nested deeper than `limit`. Walks without recursion."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ProtocolError(f"{what} is nested deeper than {limit} levels")


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return [child for child in value.values() if isinstance(child, dict | list)]
    if isinstance(value, list):
        return [child for child in value if isinstance(child, dict | list)]
    return ()


def clean_text(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 encoder takes; each becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encode(value: Any) -> bytes:
    """`value` as JSON on one line."""
    return orjson.dumps(value)
