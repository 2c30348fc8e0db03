"""One wildcard inbox for every reply of the process: acknowledgements, Direct Get batches, health answers.

A subscription for each request costs the server and us; here a request costs an entry in a dict. The handler of an entry runs
in the connection's read loop, gets each reply and says whether it waits for more. No future for each message is needed where
the caller has a state of its own (see `publisher`), and no turn of the event loop: three of five messages are replies.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator

from chatmesh.broker.connection import Connection
from chatmesh.broker.inbox import Tap
from chatmesh.broker.listener import Listener
from chatmesh.broker.message import Msg
from chatmesh.protocol import subjects
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

Handler = Callable[[Msg], bool]
"""Gets a reply; True means done, False means that more will come. It must not raise and must not block."""


class Replies(Listener):
    """Routes replies to whoever expects them. A reply that nobody expects any more is dropped: its request timed out and was
    repeated or given up."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, capacity=1)  # nothing is kept
        self._prefix = ""
        self._expected: dict[str, Handler] = {}
        self._tokens: Iterator[str] = map(str, itertools.count())
        self._failure: Exception | None = None

    def expect(self, handler: Handler) -> str:
        """The reply subject whose messages go to `handler`, until it says done or `forget`."""
        token = next(self._tokens)
        self._expected[token] = handler
        return f"{self._prefix}.{token}"

    def forget(self, reply: str) -> None:
        self._expected.pop(reply.rpartition(".")[2], None)

    def __len__(self) -> int:
        return len(self._expected)

    def subject(self) -> str:
        # Kept over a restart of this service: what is under way was sent with it.
        self._prefix = self._prefix or self._connection.new_inbox_subject()
        return f"{self._prefix}.*"

    def tap(self) -> Tap:
        return self._take

    async def run(self, started: Callable[[], None]) -> None:
        self._failure = None
        await super().run(started)
        if self._failure is not None:
            raise self._failure

    def _take(self, message: Msg) -> None:
        try:
            self.route(message)
        except Exception as error:  # noqa: BLE001 - for the supervisor: the read loop is not who should hear of it
            self._failure = error
            if self._inbox is not None:
                self._inbox.close()

    def route(self, message: Msg) -> None:
        """Raises what a handler raises that should not."""
        token = message.subject.rpartition(".")[2]
        handler = self._expected.get(token)
        if handler is None:
            return
        try:
            is_done = handler(message)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Not from JetStream: somebody knows our inbox. The true reply may still come.
            metrics.errors.labels("broker", "undecodable").inc()
            log.warning("broker.undecodable_reply", error=repr(error))
            return
        if is_done:
            self._expected.pop(token, None)


class PeerReplies(Replies):
    """Replies of other processes, on subjects that say so and that the broker lets every process write to. Whoever is
    asked sees where the answer goes, so the inbox of JetStream's answers is another one, and each of these subjects is
    used once."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._tokens = iter(lambda: secrets.token_hex(12), "")

    def subject(self) -> str:
        self._prefix = subjects.peer_inbox(self._connection.name)
        return f"{self._prefix}.*"
