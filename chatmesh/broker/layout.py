"""Over which streams the transcript lies, as the broker has it. What the configuration says of it is for new streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chatmesh.broker.api import ApiError, JetStreamApi
from chatmesh.broker.streams import transcript_name
from chatmesh.protocol.partitions import MAX_PARTITIONS
from chatmesh.protocol.positions import epoch_of

STREAM_NOT_FOUND = 10059


@dataclass(frozen=True, slots=True)
class Part:
    """A stream of the transcript. `epoch` is its birth, as positions carry it."""

    number: int
    stream: str
    epoch: str


class Layout:
    """Asked anew by the keeper at each of its looks, and by whoever has no keeper before the first use. `generation` rises when
    a part turned out to be another stream than before: what was in it is gone."""

    def __init__(self, api: JetStreamApi) -> None:
        self._api = api
        self.parts: tuple[Part, ...] = ()
        self.is_partitioned = False
        self.generation = 0
        self._epochs: dict[int, str] = {}
        """Of every part that was ever seen: one that is missing for a look comes back as another one."""
        self._listeners: list[Callable[[], None]] = []
        self._looking = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        return bool(self.parts)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of what there is, the first part first."""
        return tuple(part.stream for part in self.parts)

    @property
    def count(self) -> int:
        """As many parts as it takes to have the last one that there is."""
        return self.parts[-1].number + 1 if self.parts else 0

    def epoch(self, part: int) -> str:
        """The last one that was seen; empty where nothing is known of that part yet."""
        return self._epochs.get(part, "")

    def has(self, part: int) -> bool:
        """As of the last look."""
        return any(each.number == part for each in self.parts)

    async def still_has(self, part: int) -> bool:
        """Asks where the last look did not see it: it may be younger, or lie behind one that is missing. Raises BrokerError."""
        if not self.has(part) and await self._info(transcript_name(part)) is not None:
            self._epochs.setdefault(part, "")
            await self.look()
        return self.has(part)

    async def has_any(self, stream: str, pattern: str) -> bool:
        """Whether anything lies on such subjects, by the account of the stream's leader. Raises BrokerError."""
        return bool(await self._api.subjects(stream, pattern))

    async def last_seq(self, part: Part, *, seconds: float) -> int:
        """The sequence of its last message. Raises BrokerError."""
        info = await self._api.call(f"STREAM.INFO.{part.stream}", seconds=seconds)
        return int(info["state"]["last_seq"])

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls `listener` when the transcript turned out to be cut into parts. It must only signal."""
        self._listeners.append(listener)

    async def look(self) -> None:
        """Raises BrokerError, and then everything is as it was."""
        async with self._looking:
            self._note(*await self._found())

    def _note(self, is_partitioned: bool, parts: list[Part]) -> None:
        if any(self._epochs.get(part.number, "") not in ("", part.epoch) for part in parts):
            self.generation += 1
        self._epochs |= {part.number: part.epoch for part in parts}
        has_changed = is_partitioned != self.is_partitioned
        self.parts, self.is_partitioned = tuple(parts), is_partitioned
        if has_changed:
            for listener in self._listeners:
                listener()

    async def _found(self) -> tuple[bool, list[Part]]:
        first = await self._info(transcript_name(0))
        if first is not None:
            is_partitioned = "subject_transform" in first["config"]
        else:
            # Whoever makes it anew must not make it whole beside what is left of the others.
            is_partitioned = self.is_partitioned or await self._info(transcript_name(1)) is not None
        parts = [] if first is None else [_part(0, first)]
        number = 1
        while is_partitioned and number < MAX_PARTITIONS:
            info = await self._info(transcript_name(number))
            if info is not None:
                parts.append(_part(number, info))
            elif number > max(self._epochs, default=0):
                break  # one that is missing hides none behind it
            number += 1
        return is_partitioned, parts

    async def ensure_known(self) -> None:
        """Raises BrokerError."""
        if not self.is_known:
            await self.look()

    async def _info(self, stream: str) -> dict[str, Any] | None:
        try:
            return await self._api.call(f"STREAM.INFO.{stream}")
        except ApiError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
            return None


def _part(number: int, info: dict[str, Any]) -> Part:
    born = int(datetime.fromisoformat(info["created"]).timestamp() * 1000)
    return Part(number, transcript_name(number), epoch_of(born))
