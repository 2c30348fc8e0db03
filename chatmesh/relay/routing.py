"""Which pods get a batch: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatmesh.broker import Holder
from chatmesh.protocol.tokens import Token

IsDead = Callable[[Token, str], bool]
"""Whether that life (boot) of that pod is known to be over."""


class Route:
    """The pods of one session, as far as known. Where the registry did not answer, some are known at most, by what was heard
    since: a batch for these alone would miss the others."""

    __slots__ = ("_holders", "_is_learned", "_released")

    def __init__(self) -> None:
        self._is_learned = False
        self._holders: dict[Token, Holder] = {}
        self._released: set[tuple[Token, str]] = set()

    def learn(self, holders: Iterable[Holder]) -> None:
        """What the registry had when it was read. A change that was heard meanwhile is newer and wins."""
        self._is_learned = True
        for holder in holders:
            if holder.pod_id not in self._holders and (holder.pod_id, holder.boot) not in self._released:
                self._holders[holder.pod_id] = holder

    def hear(self, change: Holder) -> None:
        """A pod said that it holds the session, or does not any more."""
        if change.is_released:
            known = self._holders.get(change.pod_id)
            if known is not None and known.boot == change.boot:
                del self._holders[change.pod_id]
            self._released.add((change.pod_id, change.boot))
        else:
            self._holders[change.pod_id] = change
            self._released.discard((change.pod_id, change.boot))

    def targets(self, is_dead: IsDead) -> list[Token]:
        """The pods to send to. Empty: nobody is known, or not who else there is, so broadcast."""
        if not self._is_learned:
            return []
        return [holder.pod_id for holder in self._holders.values() if not is_dead(holder.pod_id, holder.boot)]
