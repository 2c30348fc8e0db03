"""How sessions stand: the last claim of each, and whether it was erased since; many of them by one request.

In: sessions. Out: what the transcript says last of each; no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatmesh.broker import Broker, HeldClaim, Stored
from chatmesh.errors import ProtocolError
from chatmesh.operate.pages import each_last
from chatmesh.protocol import subjects
from chatmesh.protocol.chunks import FINAL
from chatmesh.protocol.records import Claim
from chatmesh.protocol.tokens import Token

AT_ONCE = 400
"""Sessions of one request: two subjects of each, and 1,024 to a request."""


@dataclass(frozen=True, slots=True)
class Standing:
    """`held` is None where nobody has begun. `is_erased`: what was claimed is no part of the session any more."""

    held: HeldClaim | None = None
    is_erased: bool = False

    @property
    def visible(self) -> HeldClaim | None:
        """The claim, as far as it is of the session as it is now."""
        return None if self.held is None or self.is_erased or self.held.claim.erases else self.held


async def standings(broker: Broker, sessions: Sequence[Token]) -> dict[Token, Standing]:
    """Of each session that has a claim or was erased. Raises BrokerError."""
    found: dict[str, Stored] = {}
    for at in range(0, len(sessions), AT_ONCE):
        names = sessions[at : at + AT_ONCE]
        wanted = [subject for name in names for subject in (subjects.claim(name), subjects.erased(name))]
        stored = await each_last(broker, wanted)
        found |= {message.subject: message for message in stored}
    return {
        name: _standing(name, found.get(subjects.claim(name)), found.get(subjects.erased(name)))
        for name in sessions
        if subjects.claim(name) in found or subjects.erased(name) in found
    }


async def unfinished(broker: Broker, claimed: Sequence[HeldClaim]) -> set[Token]:
    """Sessions of these claims whose message has no final yet. Raises BrokerError."""
    running = {held.claim.session_id for held in claimed}
    for at in range(0, len(claimed), AT_ONCE):
        wanted = [
            subjects.transcript(held.claim.session_id, held.claim.message_id)
            for held in claimed[at : at + AT_ONCE]
        ]
        for stored in await each_last(broker, wanted):
            if FINAL in stored.body:
                running.discard(subjects.of_transcript(stored.subject)[0])
    return running


def _standing(session_id: Token, claim: Stored | None, erased: Stored | None) -> Standing:
    is_erased = erased is not None and (claim is None or claim.seq < erased.seq)
    if claim is None:
        return Standing(None, is_erased)
    try:
        return Standing(HeldClaim(Claim.decode(claim.body), claim.seq), is_erased)
    except ProtocolError:
        return Standing(HeldClaim(Claim.unknown(session_id), claim.seq), is_erased)
