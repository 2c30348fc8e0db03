"""Names of the NATS headers that chatmesh writes or reads. Header values are always text."""

from __future__ import annotations

from collections.abc import Mapping

WIRE = "Chatmesh-Wire"
"""On every message of ours: the version of the wire. A message without it comes from a foreign peer."""

WIRE_VERSION = "1"

ERASE = "Chatmesh-Erase"
"""On a request that erases its session; only our own pods write it."""

HOME = "Chatmesh-Home"
"""On a request where the transcript lies in parts: in which one its session does; only our own pods write it."""

NEW = "Chatmesh-New"
"""On a request whose pod saw that nothing of its session was stored, nor a stop of it: a worker may try to claim it before it
looks. Only our own pods write it."""

REASON = "Chatmesh-Reason"
"""On a dead letter: why it is one."""

RETRY_OF = "Chatmesh-Retry-Of"
"""On a request that was a dead letter: the id that its message had, which has ended with an error."""

SENT = "Chatmesh-Sent"
"""On what goes to pods live: when it was published, in Unix milliseconds by the sender's clock."""

UNIX_MS_DIGITS = 13
"""From 2001 to 2286."""

TRACEPARENT = "traceparent"
"""On a request and on everything that is published of its answer; see `trace`."""

MSG_ID = "Nats-Msg-Id"
EXPECTED_SUBJECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
EXPECTED_STREAM = "Nats-Expected-Stream"
TTL = "Nats-TTL"
ROLLUP = "Nats-Rollup"

STATUS = "Status"
DESCRIPTION = "Description"
SEQUENCE = "Nats-Sequence"
SUBJECT = "Nats-Subject"
TIME_STAMP = "Nats-Time-Stamp"
NUM_PENDING = "Nats-Num-Pending"
LAST_SEQUENCE = "Nats-Last-Sequence"
STREAM = "Nats-Stream"
MARKER_REASON = "Nats-Marker-Reason"


def own(traceparent: str = "") -> dict[str, str]:
    """Headers for a message of ours, of that trace if it is of one. A fresh dict each time, to which its caller may add."""
    return {WIRE: WIRE_VERSION, TRACEPARENT: traceparent} if traceparent else {WIRE: WIRE_VERSION}


OF_DIRECT_GET = frozenset({SEQUENCE, SUBJECT, TIME_STAMP, NUM_PENDING, LAST_SEQUENCE, STREAM})
"""What the server adds to a stored message that it hands out."""


def sent_at(head: Mapping[str, str]) -> float | None:
    """When the message was published, in Unix seconds; None where it does not say so, or not in digits."""
    text = head.get(SENT, "")
    return int(text) / 1000 if len(text) == UNIX_MS_DIGITS and text.isascii() and text.isdigit() else None
