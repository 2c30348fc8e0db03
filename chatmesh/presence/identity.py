"""One living process for each id: a second one would take the first one's chunks."""

from __future__ import annotations

from collections.abc import Callable

from chatmesh.broker import Requests
from chatmesh.errors import ChatmeshError
from chatmesh.kernel import Service

ASK_SECONDS = 0.5


class IdentityGuard(Service):
    """Asks under our own id before we answer to it. After a kill -9 nobody answers, and the id starts at once."""

    def __init__(self, requests: Requests, health_subject: str, id: str) -> None:
        self._requests = requests
        self._subject = health_subject
        self._id = id

    async def run(self, started: Callable[[], None]) -> None:
        if await self._requests.request(self._subject, seconds=ASK_SECONDS) is not None:
            raise ChatmeshError(
                f"a living process has the id {self._id!r} already",
                where=self._subject,
                mend="Give this one another (`--id NAME`), or stop the other.",
            )
        started()

    def drain(self) -> None:
        return
