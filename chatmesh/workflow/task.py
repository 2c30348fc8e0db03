"""One delivery with all that its turn needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.broker import Delivery
from chatmesh.protocol import headers
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.sealing import DataKey


@dataclass(frozen=True, slots=True)
class Task:
    """A request, as delivered to us."""

    delivery: Delivery
    request: WorkflowRequest
    traceparent: str
    key: DataKey | None = None
    """It came sealed with that, and so leaves its answer."""

    @property
    def is_foreign(self) -> bool:
        """Published by somebody else's pod, which knows the public protocol only."""
        return headers.WIRE not in self.delivery.headers

    @property
    def keys(self) -> dict[str, str]:
        """What log lines say of it."""
        return {
            "session_id": self.request.session_id,
            "message_id": self.request.message_id,
            "correlation_id": self.request.correlation_id,
        }
