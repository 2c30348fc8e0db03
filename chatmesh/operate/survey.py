"""What can be seen of a broker from outside without changing anything: the facts that `checks` judges."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from chatmesh.broker import ApiError, Broker
from chatmesh.broker.streams import TRANSCRIPT
from chatmesh.errors import BrokerError, JetStreamMissingError
from chatmesh.operate.permissions import LOOKING, OF_ROLE
from chatmesh.operate.streams import Part, look
from chatmesh.operate.trial import Tried, try_needs

_PINGS = 5
_INFO_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found. None: it could not be asked. `server` is the server's greeting, `account` JetStream's account,
    `denied` what the survey itself would have needed, `ahead_seconds` by how much the server's clock is ahead of ours."""

    address: str
    id: str
    server: dict[str, Any]
    round_trip_seconds: float
    permissions: dict[str, list[Tried]]
    denied: tuple[str, ...] = ()
    has_jetstream: bool | None = None
    account: dict[str, Any] | None = None
    parts: tuple[Part, ...] | None = None
    ahead_seconds: float | None = None
    problem: BrokerError | None = None
    """Why JetStream's account or its streams could not be read, where nothing is denied."""


async def survey(broker: Broker, roles: Sequence[str], id: str) -> Facts:
    """Looks at everything as the user of this connection, and tries the permissions of `roles`. Raises BrokerError where
    the broker goes away meanwhile."""
    denied = [tried.entry for tried in await try_needs(broker, LOOKING, id) if tried.refused]
    account: dict[str, Any] | None = None
    parts: tuple[Part, ...] | None = None
    ahead: float | None = None
    has_jetstream: bool | None = None
    problem: BrokerError | None = None
    try:
        if "$JS.API.INFO" not in denied:
            account = await broker.api.call("INFO", seconds=_INFO_SECONDS)
            has_jetstream = True
        if not set(denied) & set(LOOKING.publish[1:]):
            parts = tuple(await look(broker))
            has_jetstream = True
            ahead = await _ahead(broker, parts)
    except (JetStreamMissingError, ApiError) as error:
        # Where it is on: that of this account is off, or streams have no leader.
        has_jetstream, problem = account is not None, error
    return Facts(
        broker.connection.server,
        id,
        broker.connection.greeting,
        await _round_trip(broker),
        {role: await try_needs(broker, OF_ROLE[role], id) for role in roles},
        tuple(denied),
        has_jetstream,
        account,
        parts,
        ahead,
        problem,
    )


async def _round_trip(broker: Broker) -> float:
    took: list[float] = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        await broker.connection.flush()
        took.append(time.perf_counter() - began)
    return median(took)


async def _ahead(broker: Broker, parts: Sequence[Part]) -> float | None:
    """From the time that an answer carries, against the middle of its way."""
    if any(part.name == TRANSCRIPT and part.is_missing for part in parts):
        return None
    began = time.time()
    info = await broker.api.call(f"STREAM.INFO.{TRANSCRIPT}")
    middle = (began + time.time()) / 2
    return datetime.fromisoformat(info["ts"]).timestamp() - middle if "ts" in info else None
