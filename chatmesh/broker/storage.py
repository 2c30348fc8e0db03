"""How full the streams are, and what follows: pure.

A stream that refuses at its limit loses nothing, but an answer that can't be stored stops in the middle. So new messages
are refused before that, and what is left of the room is for the answers that run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatmesh.broker.streams import REQUESTS, TRANSCRIPT

ALARM_RATIO = 0.8
"""From here on somebody should look: at a constant rate there is a quarter of the time so far left."""

REFUSE_RATIO = 0.9
"""From here on new messages are refused. The last tenth of the default transcript holds 800,000 chunks."""

NEEDED = (REQUESTS, TRANSCRIPT)
"""What a new message needs room in, and every part of the transcript. Dead letters are not among them: they fill by broken
requests only, and a flood of these must not keep good ones out."""


class Storage:
    """The streams' fill as last seen. Fed by the keeper, asked by ingress."""

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}

    def note(self, stream: str, ratio: float) -> bool:
        """True where the stream has just reached the alarm: once for each time that it does."""
        before = self._ratios.get(stream, 0.0)
        self._ratios[stream] = ratio
        return before < ALARM_RATIO <= ratio

    @property
    def is_tight(self) -> bool:
        """Any stream is past the alarm: worth a look more often."""
        return any(ratio >= ALARM_RATIO for ratio in self._ratios.values())

    @property
    def full(self) -> str | None:
        """The stream for whose sake new messages are refused, or None."""
        full = (name for name, ratio in self._ratios.items() if ratio >= REFUSE_RATIO)
        return next((name for name in full if name.startswith(NEEDED)), None)


def fill_ratio(info: Mapping[str, Any]) -> float:
    """0 to 1 from JetStream's own account of a stream; past 1 where its limit was lowered. 0 for one without a limit."""
    limit = info["config"].get("max_bytes", -1)
    return info["state"]["bytes"] / limit if limit > 0 else 0.0
