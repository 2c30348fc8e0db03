"""Makes the broker's streams agree with the declared ones: creates what is missing, adds what is harmless, explains
the rest and touches it only when told.

Harmless is what a stream made by somebody else's code (from the protocol alone) lacks and what takes nothing from it:
a limit where there was none, refusing instead of evicting, direct reads. Anything else may hold another's intention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from chatmesh.broker.api import ApiError, JetStreamApi
from chatmesh.broker.streams import NANOSECONDS, ConsumerSpec, StreamSpec
from chatmesh.errors import BrokerError, StreamDriftError
from chatmesh.telemetry import get_logger

log = get_logger("broker")

STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
NO_ROOM = 10047

_HARMLESS_FROM: dict[str, Any] = {
    "max_bytes": -1,
    "discard": "old",
    "allow_direct": False,
    "allow_msg_ttl": False,
    "allow_rollup_hdrs": False,
}
"""Field → the server's default for it. Only from there is a change made without being told."""

_DURATIONS = frozenset({"max_age", "duplicate_window", "ack_wait"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one stream or consumer that is not as declared."""

    where: str
    field: str
    declared: Any
    actual: Any
    is_harmless: bool

    @property
    def is_roomier(self) -> bool:
        """More room than declared: what an operator gives a stream that fills up. It stays, and stops nobody."""
        return self.field == "max_bytes" and int(self.actual) > int(self.declared)

    @property
    def shown(self) -> tuple[str, str]:
        """What is declared and what is there, for people."""
        return _shown(self.field, self.declared), _shown(self.field, self.actual)

    @property
    def told(self) -> str:
        """As a sentence, without its place."""
        declared, actual = self.shown
        return f"{self.field} is {actual}, declared {declared}"

    def __str__(self) -> str:
        return f"{self.where}: {self.told}"


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as found or made. `created` is its birth: positions of another birth are foreign."""

    name: str
    created_unix_ms: int
    was_created: bool
    differences: tuple[Difference, ...] = ()


async def ensure_stream(
    api: JetStreamApi, spec: StreamSpec, *, on_info: Callable[[dict[str, Any]], None] = lambda _info: None
) -> StreamState:
    """Creates or checks one stream. Raises StreamDriftError where it differs in what is not harmless. `on_info` gets
    JetStream's account of a stream that exists, however it differs."""
    try:
        info = await api.call(f"STREAM.INFO.{spec.name}")
    except ApiError as error:
        if error.code != STREAM_NOT_FOUND:
            raise
        return await _create(api, spec)
    on_info(info)
    found = [
        difference
        for difference in differences(spec.name, spec.wire(), info["config"])
        if not difference.is_roomier
    ]
    if serious := [difference for difference in found if not difference.is_harmless]:
        raise _drift(serious)
    if found:
        log.info("broker.stream_updated", stream=spec.name, changes=[str(difference) for difference in found])
        wanted = info["config"] | {difference.field: difference.declared for difference in found}
        info = await api.call(f"STREAM.UPDATE.{spec.name}", wanted)
    return StreamState(spec.name, _unix_ms(info["created"]), was_created=False, differences=tuple(found))


async def ensure_consumer(api: JetStreamApi, spec: ConsumerSpec) -> None:
    """Creates or checks the durable consumer. Raises StreamDriftError like `ensure_stream`."""
    try:
        info = await api.call(f"CONSUMER.INFO.{spec.stream}.{spec.name}")
    except ApiError as error:
        if error.code != CONSUMER_NOT_FOUND:
            raise
        await _create_consumer(api, spec)
        return
    where = f"{spec.stream}/{spec.name}"
    if "deliver_subject" in info["config"]:
        raise StreamDriftError(
            "the durable is a push consumer; chatmesh pulls",
            where=where,
            mend=f"Stop what uses it and delete it (`nats consumer rm {spec.stream} {spec.name}`).",
        )
    if found := differences(where, spec.wire(), info["config"]):
        raise _drift(found)


def differences(where: str, wanted: dict[str, Any], actual: dict[str, Any]) -> list[Difference]:
    """What of `wanted` is otherwise in `actual`. A field that the server leaves out has its zero value."""
    found: list[Difference] = []
    for name, value in wanted.items():
        zero: Any = type(value)()
        is_value = actual.get(name, zero)
        same = set(is_value) == set(value) if isinstance(value, list) else is_value == value
        if not same:
            harmless = (name in _HARMLESS_FROM and is_value == _HARMLESS_FROM[name]) or (
                # What an older version of ours declared: more subjects take nothing from anybody.
                name == "subjects" and bool(is_value) and set(is_value) < set(value)
            )
            found.append(Difference(where, name, value, is_value, harmless))
    return found


async def _create(api: JetStreamApi, spec: StreamSpec) -> StreamState:
    try:
        info = await api.call(f"STREAM.CREATE.{spec.name}", spec.wire())
    except ApiError as error:
        if error.code == NO_ROOM:
            raise BrokerError(
                f"JetStream has no room to reserve {spec.max_bytes:,} bytes for stream {spec.name}",
                where=f"$JS.API.STREAM.CREATE.{spec.name}",
                mend="Give the server more storage (`max_file_store`), or lower the streams.*_max_bytes settings.",
            ) from error
        raise BrokerError(
            f"stream {spec.name} could not be made ({error.what})",
            where=error.where,
            mend="See the server's log.",
        ) from error
    log.info("broker.stream_created", stream=spec.name)
    return StreamState(spec.name, _unix_ms(info["created"]), was_created=True)


async def _create_consumer(api: JetStreamApi, spec: ConsumerSpec) -> None:
    body = {"stream_name": spec.stream, "config": spec.wire(), "action": "create"}
    try:
        await api.call(f"CONSUMER.CREATE.{spec.stream}.{spec.name}", body)
    except ApiError as error:
        raise BrokerError(
            f"consumer {spec.stream}/{spec.name} could not be made ({error.what})",
            where=error.where,
            mend="See the server's log.",
        ) from error
    log.info("broker.consumer_made", stream=spec.stream, consumer=spec.name)


def _drift(found: Sequence[Difference]) -> StreamDriftError:
    return StreamDriftError(
        "the broker's configuration is not the declared one: " + "; ".join(map(str, found)),
        where=found[0].where,
        mend="Set the configuration to what the broker has, or change the broker to it "
        "(`chatmesh streams ensure --apply`).",
    )


def _shown(field: str, value: Any) -> str:
    """Durations come in nanoseconds, lists as JSON."""
    if field in _DURATIONS and isinstance(value, int):
        return _duration(value)
    if value is None:
        return "(none)"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds / NANOSECONDS
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _unix_ms(created: str) -> int:
    return int(datetime.fromisoformat(created).timestamp() * 1000)
