"""Names of the NATS headers that chatmesh writes or reads. Header values are always text."""

from __future__ import annotations

WIRE = "Chatmesh-Wire"
"""On every message of ours: the version of the wire. A message without it comes from a foreign peer."""

WIRE_VERSION = "1"

ERASE = "Chatmesh-Erase"
"""On a request that erases its session; only our own pods write it."""

REASON = "Chatmesh-Reason"
"""On a dead letter: why it is one."""

RETRY_OF = "Chatmesh-Retry-Of"
"""On a request that was a dead letter: the id that its message had, which has ended with an error."""

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


def own() -> dict[str, str]:
    """Headers for a message of ours. A fresh dict each time, since the client adds to what it is given."""
    return {WIRE: WIRE_VERSION}


OF_DIRECT_GET = frozenset({SEQUENCE, SUBJECT, TIME_STAMP, NUM_PENDING, LAST_SEQUENCE, STREAM})
"""What the server adds to a stored message that it hands out."""
