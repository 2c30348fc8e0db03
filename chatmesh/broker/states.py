"""What the transcript says of a session and of one of its messages: pure."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.protocol.records import Claim, Erasure, Record


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim as stored; `token` is its stream sequence, the fence of what is written under it."""

    claim: Claim
    token: int

    @property
    def first(self) -> int:
        """The sequence of the message's first claim: its records lie behind it."""
        return self.claim.first or self.token


@dataclass(frozen=True, slots=True)
class Records:
    """A page of records, where to read on, and whether there is more."""

    records: list[Record]
    next_seq: int
    more: bool


@dataclass(frozen=True, slots=True)
class MessageState:
    """How far a message has got, and who has its session: the last of each, or None. `is_stopped`: somebody asked for
    its end, whether that was seen or not."""

    claim: HeldClaim | None
    record: Record | None
    is_stopped: bool
    erasure: Erasure | None

    @property
    def shown(self) -> Record | None:
        """The last record, as far as readers may see it."""
        is_erased = (
            self.record is not None and self.erasure is not None and self.record.token < self.erasure.seq
        )
        return None if is_erased else self.record

    def ends(self, queue_seq: int) -> bool:
        """Whether the message that was accepted there is to be ended: it was stopped, or its session erased behind it."""
        return self.is_stopped or (self.erasure is not None and queue_seq < self.erasure.queue_seq)

    @property
    def is_blank(self) -> bool:
        """Nothing of the session is stored, and of the message no stop."""
        return self.claim is None and self.record is None and self.erasure is None and not self.is_stopped


@dataclass(frozen=True, slots=True)
class SessionState:
    """Who has the session, as far as it was not erased since; and what was erased."""

    claim: HeldClaim | None
    erasure: Erasure | None

    @property
    def floor(self) -> int:
        """Records under claims up to this sequence are erased."""
        return self.erasure.seq if self.erasure is not None else 0


BLANK = MessageState(None, None, is_stopped=False, erasure=None)
"""Of a message in a session that has not begun."""
