"""A request without an id of its own that an SDK sends again: on any pod it is the message that the first one became."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from chatmesh.broker import Retries
from chatmesh.errors import BrokerError
from chatmesh.ingress.admission import Admission
from chatmesh.ingress.intake import Accepted, Known
from chatmesh.ingress.refusals import RETRY_AFTER_SECONDS
from chatmesh.kernel.together import together
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.tokens import Token
from chatmesh.web import Problem

RETRY_COUNT = "x-stainless-retry-count"


class Repeats:
    """`key` stands for a request: who asked what, where. See `retry_key`."""

    def __init__(self, admission: Admission, retries: Retries) -> None:
        self._admission = admission
        self._retries = retries

    async def find(self, headers: Mapping[str, str], key: Token) -> tuple[Token, Token] | None:
        """Session and message of a request that an SDK sends again; None for any other, and where the first one never
        arrived. Raises Problem 503 `broker_away`."""
        if not is_retry(headers):
            return None
        self._admission.check_broker()
        try:
            return await self._retries.find(key)
        except BrokerError as error:
            raise Problem(
                503,
                "broker_away",
                "Nothing was accepted: NATS is away.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            ) from error

    async def admit(
        self, request: WorkflowRequest, key: Token, *, caller: Caller, known: Known, traceparent: str
    ) -> Accepted:
        """Returns once the message is durable, and would be recognised. Raises what `Admission.admit` raises."""
        accepted, _ = await together(
            self._admission.admit(request, caller=caller, known=known, traceparent=traceparent),
            self._retries.note(key, request.session_id, request.message_id),
        )
        return accepted

    async def forget(self, key: Token) -> None:
        """The same request again is something new."""
        await self._retries.forget(key)


def is_retry(headers: Mapping[str, str]) -> bool:
    """Whether an SDK says that it has sent this before."""
    count = headers.get(RETRY_COUNT, "")
    return count.isascii() and count.isdigit() and count.strip("0") != ""


def retry_key(
    path: str, headers: Mapping[str, str], caller: Caller, user_id: str, session_id: str | None, data: bytes
) -> Token:
    """The same for the same body at the same address from the same caller, and for no other. One who is known may come with
    a fresh token."""
    credential = "" if caller.user else headers.get("Authorization", "")
    who = (path, credential, caller.tenant, user_id, session_id or "")
    digest = hashlib.blake2b(digest_size=16)
    for part in (*(text.encode(errors="surrogateescape") for text in who), data):
        digest.update(b"%d:%b" % (len(part), part))
    return Token(digest.hexdigest())
