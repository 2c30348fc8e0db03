"""One session, checked: is what the broker has stored of it what was promised?

In: a session's name. Out: a row for each message, and every violation with its place. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chatmesh.broker import Broker
from chatmesh.errors import ChatmeshError
from chatmesh.operate.invariants import (
    Violation,
    begun_before,
    by_message,
    check_session,
    text_digest,
    until_final,
)
from chatmesh.operate.pages import READ_SECONDS
from chatmesh.operate.session import StoredSession, queued_messages, read_session
from chatmesh.protocol.chunks import metadata_of
from chatmesh.protocol.tokens import Token


class Verdict(StrEnum):
    """Of a message. RUNS: it holds so far, and is queued or being answered."""

    HOLDS = "holds"
    RUNS = "runs"
    VIOLATED = "violated"


@dataclass(frozen=True, slots=True)
class CheckedMessage:
    """`digest` is what the final says, `computed` what the stored text gives; None where there is no final, or where the
    message's beginning has expired."""

    message_id: Token
    attempts: int
    records: int
    chunks: int
    finish_reason: str | None
    digest: str | None
    computed: str | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Checked:
    """A session. `erased`: messages of it of which a tombstone is left."""

    session_id: Token
    messages: tuple[CheckedMessage, ...]
    violations: tuple[Violation, ...]
    records: int
    claims: int
    erased: int

    @property
    def holds(self) -> bool:
        return not self.violations


async def verify(broker: Broker, session_id: Token) -> Checked:
    """Reads and checks. Raises ChatmeshError for a session of which nothing is there, BrokerError where the broker does
    not answer."""
    session = await read_session(broker, session_id)
    # After the transcript: what has left the queue by then has its final, though perhaps not in what was read.
    queued = await queued_messages(broker, session_id)
    if not (session.is_known or queued):
        raise ChatmeshError(
            f"nobody knows session {session_id}",
            where=broker.connection.server,
            mend="Nothing of it is stored and nothing is queued: is it the right broker, or is it too old?",
        )
    begun = _begun(session)
    late = [message_id for message_id in begun if message_id not in queued]
    ended = [message_id for message_id in late if not await _has_just_ended(broker, session, message_id)]
    found = (*session.unreadable, *check_session(session_id, session.records, session.claims, ended=ended))
    return Checked(
        session_id,
        tuple(_rows(session, list(dict.fromkeys([*begun, *queued])), found)),
        found,
        len(session.records),
        len(session.claims),
        session.tombstones,
    )


def _begun(session: StoredSession) -> list[Token]:
    """Messages that a worker has had, in the order of the transcript; what was erased is none of them, nor is erasing."""
    claimed = [
        held.claim.message_id
        for held in session.claims
        if held.claim.attempt and held.token > session.floor and not held.claim.erases
    ]
    answered = [record.message_id for record in session.records if not record.resets_all]
    return list(dict.fromkeys([*answered, *claimed]))


async def _has_just_ended(broker: Broker, session: StoredSession, message_id: Token) -> bool:
    """Whether its final was stored after the transcript was read."""
    last = await broker.transcript.last_record(session.session_id, message_id, seconds=READ_SECONDS)
    read = [record.seq for record in session.records if record.message_id == message_id]
    return last is not None and last.final is not None and last.seq not in read


def _rows(
    session: StoredSession, messages: Sequence[Token], found: Sequence[Violation]
) -> Iterator[CheckedMessage]:
    records, cut = by_message(session.records), begun_before(session.records)
    violated = {violation.message_id for violation in found}
    for message_id in messages:
        own = records.get(message_id, [])
        told = until_final(own)
        final = told[-1].final if told else None
        metadata = metadata_of(final) if final is not None else {}
        claims = [held.claim.attempt for held in session.claims if held.claim.message_id == message_id]
        ends = Verdict.HOLDS if final is not None else Verdict.RUNS
        yield CheckedMessage(
            message_id,
            attempts=max([*claims, *(record.attempt for record in own)], default=0),
            records=len(own),
            chunks=sum(len(record.chunks) for record in own),
            finish_reason=_text(metadata.get("finish_reason")),
            digest=_text(metadata.get("digest")),
            computed=text_digest(told) if final is not None and message_id not in cut else None,
            verdict=Verdict.VIOLATED if message_id in violated else ends,
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
