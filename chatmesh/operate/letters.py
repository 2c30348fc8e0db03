"""Dead letters: requests that could not be answered, and what becomes of them.

In: sequences in the stream of dead letters. Out: letters; a request that is queued once more; a letter that is gone.

A message ends once. One whose final is stored can't be answered under its id any more (a turn would only find the
final), so it is queued as a new message, whose id follows from the letter: retried twice, it is one message. Any other is
published again exactly as it was, which helps after an upgrade.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace

from chatmesh.broker import ApiError, Broker, Opened, PubAck, Stored
from chatmesh.broker.requests import sealed_request
from chatmesh.broker.streams import DEAD_LETTERS
from chatmesh.errors import ChatmeshError, KeyMissingError, ProtocolError
from chatmesh.operate.pages import READ_SECONDS
from chatmesh.operate.session import queued_messages
from chatmesh.operate.streams import require
from chatmesh.protocol import headers, subjects
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import TOMBSTONE
from chatmesh.protocol.sealing import DataKey, is_sealed
from chatmesh.protocol.tokens import Token, token

PUBLISH_SECONDS = 10.0

_GONE = frozenset({10043, 10057})
"""JetStream's codes for a message that can't be deleted since it is not there."""

_NOBODYS_SEQ = 0
"""No message has it."""


class StillQueuedError(ChatmeshError):
    """Its request is in the queue: a worker takes it by itself."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `request` is None where the body can't be decoded, or opened; `key` is what it is sealed with."""

    seq: int
    time: str
    session: str
    reason: str
    headers: dict[str, str]
    body: bytes
    request: WorkflowRequest | None
    key: DataKey | None

    @property
    def name(self) -> str:
        """Tells it from every other one, of a stream that was made anew too."""
        return f"{DEAD_LETTERS}:{self.seq}:{self.time}"


@dataclass(frozen=True, slots=True)
class Retried:
    """A letter that was queued again, as `message_id` (None: nobody can read it). `retry_of`: the id that it had, where
    that one has ended. `is_duplicate`: it was queued before, and the letter only had to go."""

    letter: Letter
    message_id: Token | None
    retry_of: Token | None
    is_duplicate: bool


async def list_letters(
    broker: Broker, *, session_id: Token | None, after: int, limit: int
) -> tuple[list[Letter], int | None]:
    """At most `limit` letters behind sequence `after`, oldest first, and the `after` of the next page if there is one."""
    await require(broker, DEAD_LETTERS)
    subject = subjects.DEAD_LETTERS_ALL if session_id is None else subjects.dead_letter(session_id)
    found: list[Letter] = []
    more = True
    while more and len(found) < limit:
        page = await broker.direct_get.page(
            DEAD_LETTERS, subject, seq=after + 1, limit=limit - len(found), seconds=READ_SECONDS
        )
        found += [await _letter(broker, stored) for stored in page.messages if stored.body != TOMBSTONE]
        after = page.messages[-1].seq if page.messages else after
        more = page.more
    return found, after if more else None


async def find_letter(broker: Broker, seq: int) -> Letter:
    """The letter at `seq`. Raises ChatmeshError where there is none."""
    await require(broker, DEAD_LETTERS)
    stored = await broker.direct_get.first(
        DEAD_LETTERS, subjects.DEAD_LETTERS_ALL, seq=max(1, seq), seconds=READ_SECONDS
    )
    if stored is None or stored.seq != seq or stored.body == TOMBSTONE:
        raise _unknown(seq)
    return await _letter(broker, stored)


async def drop(broker: Broker, seq: int) -> Letter:
    """Removes the letter for good, and overwrites it on the disk. Raises ChatmeshError where there is none."""
    letter = await find_letter(broker, seq)
    if not await _delete(broker, seq):
        raise _unknown(seq)
    return letter


async def retry(broker: Broker, seq: int) -> Retried:
    """Queues the letter's request once more, then removes the letter. Raises ChatmeshError where there is none,
    StillQueuedError where its request is in the queue; BrokerError where it was not stored, and then the letter stays."""
    letter = await find_letter(broker, seq)
    # Before anything is queued: whether the letter may be removed afterwards.
    await _delete(broker, _NOBODYS_SEQ)
    retried = await queue_again(broker, letter)
    await _delete(broker, seq)  # somebody else may have been faster
    return retried


async def queue_again(broker: Broker, letter: Letter) -> Retried:
    """The first half of `retry`; repeating it is harmless."""
    request = letter.request
    if request is None or request.session_id != letter.session:
        ack = await _publish(broker, letter, letter.body, {headers.MSG_ID: letter.name})
        return Retried(letter, None, None, ack.duplicate)
    if await _has_ended(broker, request):
        again = replace(request, message_id=_new_id(letter))
        more = {
            headers.MSG_ID: f"{again.session_id}:{again.message_id}",
            headers.RETRY_OF: request.message_id,
        }
        ack = await _publish(broker, letter, sealed_request(again, letter.key), more)
        return Retried(letter, again.message_id, request.message_id, ack.duplicate)
    if request.message_id in await queued_messages(broker, request.session_id):
        raise StillQueuedError(
            f"message {request.message_id} is in the queue still",
            where=f"dead letter {letter.seq}",
            mend="Nothing was done: a worker takes it by itself. Drop the letter if it is not wanted.",
        )
    ack = await _publish(broker, letter, letter.body, {headers.MSG_ID: letter.name})
    return Retried(letter, request.message_id, None, ack.duplicate)


async def _has_ended(broker: Broker, request: WorkflowRequest) -> bool:
    last = await broker.transcript.last_record(request.session_id, request.message_id, seconds=READ_SECONDS)
    return last is not None and last.final is not None


async def _publish(broker: Broker, letter: Letter, body: bytes, more: dict[str, str]) -> PubAck:
    try:
        session_id = token(letter.session, "session_id")
    except ProtocolError as error:
        raise ChatmeshError(f"dead letter {letter.seq} is of no session ({error.what})") from error
    return await broker.publisher.publish(
        subjects.execute(session_id),
        body,
        message_headers=headers.own() | more,
        deadline_seconds=PUBLISH_SECONDS,
    )


async def _delete(broker: Broker, seq: int) -> bool:
    """False: there is no such message."""
    try:
        await broker.api.call(f"STREAM.MSG.DELETE.{DEAD_LETTERS}", {"seq": seq})
    except ApiError as error:
        if error.code in _GONE:
            return False
        raise
    return True


async def _letter(broker: Broker, stored: Stored) -> Letter:
    opened: Opened | None = None
    session_id = Token(subjects.third_token(stored.subject))
    with suppress(ProtocolError, KeyMissingError):
        opened = (
            await broker.vault.request(stored.body, session_id)
            if is_sealed(stored.body)
            else Opened(WorkflowRequest.decode(stored.body))
        )
    return Letter(
        stored.seq,
        stored.time,
        subjects.third_token(stored.subject),
        stored.headers.get(headers.REASON, ""),
        {name: value for name, value in stored.headers.items() if name not in headers.OF_DIRECT_GET},
        stored.body,
        None if opened is None else opened.request,
        None if opened is None else opened.key,
    )


def _new_id(letter: Letter) -> Token:
    return Token(f"msg_{hashlib.blake2b(letter.name.encode(), digest_size=12).hexdigest()}")


def _unknown(seq: int) -> ChatmeshError:
    return ChatmeshError(
        f"there is no dead letter {seq}", where=DEAD_LETTERS, mend="`chatmesh dlq list` says which there are."
    )
