"""Which tickets were used, on all pods: each once. A mark in the registry's stream that removes itself."""

from __future__ import annotations

import secrets

from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.streams import REGISTRY
from chatmesh.errors import FencedError
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.tokens import Token

KEPT_TTL = "120s"
"""Longer than a ticket is good, whatever the clocks of two pods say."""

WRITE_SECONDS = 3.0


class Spent:
    """Stateless."""

    def __init__(self, direct_get: DirectGet, publisher: Publisher) -> None:
        self._direct_get = direct_get
        self._publisher = publisher

    async def spend(self, ticket_id: Token) -> bool:
        """True for the first one who asks. Raises BrokerError, CapacityError."""
        nonce = secrets.token_hex(8).encode()
        subject = subjects.spent(ticket_id)
        try:
            await self._publisher.publish(
                subject,
                nonce,
                message_headers=headers.own()
                | {headers.TTL: KEPT_TTL, headers.EXPECTED_SUBJECT_SEQUENCE: "0"},
                deadline_seconds=WRITE_SECONDS,
            )
        except FencedError:
            # Ours may be the one that is there, if its acknowledgement was lost and it was sent again.
            stored = await self._direct_get.last(REGISTRY, subject, seconds=WRITE_SECONDS)
            return stored is not None and stored.body == nonce
        return True
