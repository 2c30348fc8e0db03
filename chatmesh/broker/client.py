"""nats-py's client, made to outlive what a raw socket may send.

The server takes nearly any byte in a subject, a reply subject or a header block. nats-py decodes them as text in its read
loop: one message that is no UTF-8 ends that loop for good while `is_connected` stays true, and a vertical tab in a
subject cuts the connection; a stored one comes back and cuts it again, for ever.
"""

from __future__ import annotations

import re
from typing import Any

import nats.protocol.parser
from nats.aio.msg import Msg

from chatmesh.broker.sealed import SealedClient
from chatmesh.telemetry import get_logger, metrics

log = get_logger("broker")

# Fields are parted by blanks and tabs; `\s`, as nats-py has it, also takes what the server lets through in a subject.
nats.protocol.parser.MSG_RE = re.compile(
    rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+([^ \t\r\n]+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n"
)
nats.protocol.parser.HMSG_RE = re.compile(
    rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+([^ \t\r\n]+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n"
)


class SturdyClient(SealedClient):
    """Hands on what can't be read as text with U+FFFD in its place, and without headers where those can't be read:
    whoever gets it refuses it like any other undecodable message."""

    @property
    def greeting(self) -> dict[str, Any]:
        """What the server said of itself when it took the connection: name, version, cluster, limits."""
        return dict(self._server_info)

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        try:
            message: Msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            metrics.errors.labels("broker", "undecodable").inc()
            message = super()._build_message(sid, _readable(subject), _readable(reply), data, headers)
            log.warning("broker.undecodable_subject", subject=message.subject)
        return message

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError) as error:
            metrics.errors.labels("broker", "undecodable").inc()
            log.warning("broker.undecodable_headers", error=repr(error))
            return None
        return found


def _readable(text: bytes) -> bytes:
    return text.decode(errors="replace").encode()
