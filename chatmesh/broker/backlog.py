"""How much is queued or being answered, by session: from the subjects of the work queue."""

from __future__ import annotations

from chatmesh.broker.api import JetStreamApi
from chatmesh.broker.streams import REQUESTS
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token, is_token


class Backlog:
    """Reads only."""

    def __init__(self, api: JetStreamApi) -> None:
        self._api = api

    async def by_session(self) -> dict[Token, int]:
        """Requests of each session that has any; about 50 bytes each from the broker. Raises BrokerError."""
        counts = await self._api.subjects(REQUESTS, subjects.EXECUTE_ALL)
        return {
            Token(name): count
            for subject, count in counts.items()
            if is_token(name := subject.rpartition(".")[2])
        }
