"""The declared streams beside the real ones: what differs, what JetStream can change of it, and changing that.

In: the declarations and JetStream's own account. Out: one `Part` for each stream and for the consumer. `look` changes
nothing. `apply` deletes nothing and waits for nobody: what can't be changed in place is explained instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from chatmesh.broker import ApiError, Broker, ConsumerSpec, JetStreamApi
from chatmesh.broker.ensure import (
    CONSUMER_NOT_FOUND,
    STREAM_NOT_FOUND,
    Difference,
    differences,
    ensure_consumer,
    ensure_stream,
)
from chatmesh.broker.streams import TRANSCRIPT, StreamSpec
from chatmesh.errors import BrokerError, BrokerUnreachableError, JetStreamMissingError, NotAuthorisedError

_FIXED_STREAM_FIELDS = {
    "retention": "JetStream does not turn a work queue into another kind of stream, nor another into a work queue",
    "storage": "JetStream does not move a stream between file and memory",
    "allow_msg_ttl": "JetStream does not take back that messages may have a time to live",
}
_FIXED_CONSUMER_FIELDS = frozenset({"ack_policy", "deliver_policy", "replay_policy", "max_waiting"})
"""Measured with nats-server 2.15; an older or newer one that refuses more is quoted."""


class Action(StrEnum):
    """What was done about a part."""

    NONE = "none"
    CREATED = "created"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that is not as declared. `obstacle`: why JetStream can't change it in place, and what helps."""

    difference: Difference
    obstacle: str | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A stream, or the consumer of one. `error`: what JetStream answered when it was to be made or changed."""

    kind: Literal["stream", "consumer"]
    name: str
    spec: StreamSpec | ConsumerSpec
    is_missing: bool = False
    changes: tuple[Change, ...] = ()
    action: Action = Action.NONE
    error: str | None = None
    info: dict[str, Any] = field(default_factory=dict, repr=False)
    """JetStream's whole answer; empty where it is missing."""

    @property
    def config(self) -> dict[str, Any]:
        """As JetStream has it: an update sends it back whole, so that fields that we don't declare stay."""
        config: dict[str, Any] = self.info["config"]
        return config

    @property
    def is_as_declared(self) -> bool:
        """Now, after what was done."""
        if self.is_missing:
            return self.action is Action.CREATED
        return all(change.is_done for change in self.changes)


async def look(broker: Broker) -> list[Part]:
    """What differs. Changes nothing. Raises BrokerError where JetStream does not answer."""
    await broker.layout.look()
    parts = [await _look_at_stream(broker.api, spec) for spec in broker.streams.declared]
    return [*parts, await _look_at_consumer(broker.api, broker.streams.consumer)]


async def require(broker: Broker, stream: str) -> dict[str, Any]:
    """JetStream's account of the stream. Raises BrokerError where it is not there: a Direct Get would only wait for it."""
    info = await _info(broker.api, f"STREAM.INFO.{stream}", STREAM_NOT_FOUND)
    if info is None:
        raise BrokerError(
            f"there is no stream {stream}",
            where=broker.connection.server,
            mend="Is it the right broker? `chatmesh streams ensure` says which streams are missing.",
        )
    return info


async def transcripts(broker: Broker) -> tuple[str, ...]:
    """The streams of the transcript, as they are now. Raises BrokerError where there is none."""
    await require(broker, TRANSCRIPT)
    await broker.layout.look()
    return broker.layout.streams


async def apply(broker: Broker, parts: Sequence[Part]) -> list[Part]:
    """Makes what is missing and changes what can be changed. A refusal is noted in its part and the next one is tried;
    raises BrokerError only where JetStream does not answer."""
    # In this order: where the transcript is cut into parts, nobody writes to the whole any more when there are others for
    # new sessions to begin in.
    return [part if part.is_as_declared else await _mend(broker.api, part) for part in parts]


async def _look_at_stream(api: JetStreamApi, spec: StreamSpec) -> Part:
    info = await _info(api, f"STREAM.INFO.{spec.name}", STREAM_NOT_FOUND)
    if info is None:
        return Part("stream", spec.name, spec, is_missing=True)
    found = differences(spec.name, spec.wire(), info["config"])
    changes = tuple(Change(difference, _stream_obstacle(difference)) for difference in found)
    return Part("stream", spec.name, spec, changes=changes, info=info)


async def _look_at_consumer(api: JetStreamApi, spec: ConsumerSpec) -> Part:
    name = f"{spec.stream}/{spec.name}"
    info = await _info(api, f"CONSUMER.INFO.{spec.stream}.{spec.name}", CONSUMER_NOT_FOUND, STREAM_NOT_FOUND)
    if info is None:
        return Part("consumer", name, spec, is_missing=True)
    config = info["config"]
    found = differences(name, spec.wire(), config)
    if "deliver_subject" in config:
        found.insert(
            0, Difference(name, "deliver_subject", None, config["deliver_subject"], is_harmless=False)
        )
    changes = tuple(Change(difference, _consumer_obstacle(difference, spec)) for difference in found)
    return Part("consumer", name, spec, changes=changes, info=info)


async def _info(api: JetStreamApi, call: str, *missing: int) -> dict[str, Any] | None:
    try:
        return await api.call(call)
    except ApiError as error:
        if error.code in missing:
            return None
        raise


def _stream_obstacle(difference: Difference) -> str | None:
    why = _FIXED_STREAM_FIELDS.get(difference.field)
    if why is None or not _is_fixed(difference):
        return None
    return (
        f"{why}. Stop every chatmesh process, keep what is in it if you need it (`nats stream backup`), "
        f"delete it (`nats stream rm {difference.where}`) and run this again."
    )


def _is_fixed(difference: Difference) -> bool:
    match difference.field:
        case "retention":
            return "workqueue" in (difference.declared, difference.actual)
        case "allow_msg_ttl":
            return difference.actual is True
        case _:
            return True


def _consumer_obstacle(difference: Difference, spec: ConsumerSpec) -> str | None:
    delete = (
        f"Stop what uses it, delete it (`nats consumer rm {spec.stream} {spec.name}`) and run this again; "
        "the requests stay in their stream."
    )
    if difference.field == "deliver_subject":
        return f"The durable is a push consumer of somebody else; chatmesh pulls. {delete}"
    if difference.field in _FIXED_CONSUMER_FIELDS:
        return f"JetStream does not change it in a consumer that exists. {delete}"
    return None


async def _mend(api: JetStreamApi, part: Part) -> Part:
    async def create() -> None:
        if isinstance(part.spec, StreamSpec):
            await ensure_stream(api, part.spec)
        else:
            await ensure_consumer(api, part.spec)

    async def update() -> None:
        wanted = part.config | {change.difference.field: change.difference.declared for change in possible}
        if isinstance(part.spec, StreamSpec):
            await api.call(f"STREAM.UPDATE.{part.spec.name}", wanted)
        else:
            body = {"stream_name": part.spec.stream, "config": wanted, "action": "update"}
            await api.call(f"CONSUMER.CREATE.{part.spec.stream}.{part.spec.name}", body)

    if part.is_missing:
        error = await _refusal(create)
        if error is None:
            return replace(part, action=Action.CREATED)
        return replace(part, error=error + await _whose_subjects(api, part.spec))
    possible = [change for change in part.changes if change.obstacle is None]
    if not possible:
        return part
    if any(change.difference.field == "deliver_subject" for change in part.changes):
        return part  # somebody else's: it has to go anyway, and until then it is theirs
    error = await _refusal(update)
    if error is not None:
        return replace(part, error=error)
    changes = tuple(replace(change, is_done=change.obstacle is None) for change in part.changes)
    return replace(part, action=Action.CHANGED, changes=changes)


async def _refusal(step: Callable[[], Awaitable[None]]) -> str | None:
    """What JetStream has against `step`, or None where it was done."""
    try:
        await step()
    except (BrokerUnreachableError, JetStreamMissingError, NotAuthorisedError):
        raise
    except BrokerError as error:
        return str(error)
    return None


async def _whose_subjects(api: JetStreamApi, spec: StreamSpec | ConsumerSpec) -> str:
    """The reason that is most often behind a stream that can't be made: another one has its subjects."""
    if not isinstance(spec, StreamSpec):
        return ""
    names: set[str] = set()
    for subject in spec.subjects:
        names |= set((await api.call("STREAM.NAMES", {"subject": subject})).get("streams") or ())
    if not names:
        return ""
    subjects = ", ".join(spec.subjects)
    return f" Subjects of it ({subjects}) belong to {' and '.join(sorted(names))}: change or delete that one."
