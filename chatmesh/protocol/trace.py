"""The thread through a message's way: W3C `traceparent`, from the client's request to the last record of its answer.

A process that records no spans hands on what it got, the parent's id included; one that does puts its own span's id there.
Of what a client sends, this header is the only one that gets any further, and only in the shape that is checked here.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence

from chatmesh.errors import ProtocolError
from chatmesh.protocol import jsontext
from chatmesh.protocol.headers import TRACEPARENT
from chatmesh.protocol.tokens import Token

_VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Version 00 (https://www.w3.org/TR/trace-context/), the only one there is. Ids of nothing but zeros are none."""

NOT_SAMPLED = "00"
"""Flags of a trace that begins here: nobody has recorded anything of it."""


def parse(values: Sequence[str]) -> str | None:
    """The one `traceparent` of a request, as it stands; None for none, several, or what is none."""
    return values[0] if len(values) == 1 and _VALID.fullmatch(values[0]) else None


def fresh() -> str:
    """The beginning of a trace of its own."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{NOT_SAMPLED}"


def given(headers: Mapping[str, str]) -> str | None:
    """What a request in the queue says itself; whoever wrote it has decided whether the trace is sampled."""
    found = headers.get(TRACEPARENT)
    return found if found is not None and _VALID.fullmatch(found) else None


def of_request(headers: Mapping[str, str], body: bytes, session_id: Token, message_id: Token) -> str:
    """The trace of a request in the queue: its header's, else its envelope's, else one that is made of its ids, so that
    every worker that gets it makes the same."""
    found = given(headers)
    if found is not None:
        return found
    if b'"trace_id"' in body and (enveloped := _of_envelope(body)) is not None:
        return enveloped
    made = hashlib.blake2b(f"{session_id}:{message_id}".encode(), digest_size=24).hexdigest()
    return f"00-{made[:32]}-{made[32:]}-{NOT_SAMPLED}"


def is_sampled(traceparent: str) -> bool:
    """Whether its spans are to be recorded. What is no traceparent is of no trace."""
    return _VALID.fullmatch(traceparent) is not None and bool(int(traceparent[53:], 16) & 1)


def sampled(traceparent: str) -> str:
    """The same, to be recorded."""
    return f"{traceparent[:53]}{int(traceparent[53:], 16) | 1:02x}"


def below(traceparent: str, span_id: str) -> str:
    """Of a span in the same trace, 16 hexadecimal digits."""
    return f"{traceparent[:36]}{span_id}{traceparent[52:]}"


def span_id(traceparent: str) -> str:
    """Of whoever has handed it on."""
    return traceparent[36:52]


def span_id_of(traceparent: str, what: str) -> str:
    """The id of the span of `what` in that trace: the same, whoever asks."""
    return hashlib.blake2b(f"{trace_id(traceparent)}:{what}".encode(), digest_size=8).hexdigest()


def trace_id(traceparent: str) -> str:
    """What logs show of it."""
    return traceparent[3:35]


def _of_envelope(body: bytes) -> str | None:
    """The ids of `{"trace_id", "span_id", "data"}`, where they are such as a header may have."""
    try:
        envelope = jsontext.decode_object(body, "envelope")
    except ProtocolError:
        return None
    made = f"00-{envelope.get('trace_id')}-{envelope.get('span_id')}-{NOT_SAMPLED}".lower()
    return made if _VALID.fullmatch(made) else None
