"""After the faults: what lies at the broker, and what was logged. Looks only; in a mesh that has come to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chatmesh.broker import CONSUMER, REQUESTS, Broker
from chatmesh.errors import BrokerError
from chatmesh.operate.chaos.check import Finding, Kind
from chatmesh.operate.chaos.talk import MARK, Talk
from chatmesh.operate.invariants import check_session
from chatmesh.operate.session import read_session
from chatmesh.protocol.tokens import Token

LOOK_SECONDS = 0.25

ANSWER = b"11 12 13 "
"""What `count` says, as a reader gets it or as JSON would join it."""


async def wait_for_rest(broker: Broker, talks: Sequence[Talk], *, seconds: float) -> list[Finding]:
    """Until nothing is queued, nothing is leased, and every accepted message was answered; what is left after `seconds`.
    Of the messages themselves their watches tell."""
    left = "the broker did not answer"
    try:
        async with asyncio.timeout(seconds):
            while True:
                left = await _left_in_queue(broker)
                if not left and all(talk.is_answered for talk in talks):
                    return []
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return [Finding(Kind.QUEUE, REQUESTS, "", f"{left} after {seconds:g} s")] if left else []


async def check_transcripts(broker: Broker, talks: Iterable[Talk]) -> list[Finding]:
    """Each session's records and claims hold together."""
    found: list[Finding] = []
    for talk in talks:
        try:
            stored = await read_session(broker, Token(talk.session_id))
        except BrokerError as error:
            found.append(Finding(Kind.TRANSCRIPT, talk.session_id, "", f"can't be read: {error}"))
            continue
        session_id, accepted = Token(talk.session_id), list(map(Token, talk.accepted))
        violations = check_session(session_id, stored.records, stored.claims, ended=accepted)
        found += [
            Finding(
                Kind.TRANSCRIPT, session_id, each.message_id or "", f"{each.kind}: {each.what} ({each.where})"
            )
            for each in [*stored.unreadable, *violations]
        ]
    return found


def check_logs(logs: Iterable[Path]) -> list[Finding]:
    """Nothing that a person or a model wrote stands in a log. The first place in each is enough."""
    found: list[Finding] = []
    for log in logs:
        with log.open("rb") as file:
            for number, line in enumerate(file, 1):
                if MARK.encode() in line or ANSWER in line:
                    found.append(
                        Finding(Kind.LEAK, f"{log.name}:{number}", "", "a message's text is in the log")
                    )
                    break
    return found


async def _left_in_queue(broker: Broker) -> str:
    """What is queued or leased still, in words; "" for nothing."""
    try:
        stream = await broker.api.call(f"STREAM.INFO.{REQUESTS}")
        consumer = await broker.api.call(f"CONSUMER.INFO.{REQUESTS}.{CONSUMER}")
    except BrokerError as error:
        return str(error)
    queued, leased = _count(stream["state"], "messages"), _count(consumer, "num_ack_pending")
    return f"{queued} requests queued, {leased} leased" if queued or leased else ""


def _count(body: dict[str, Any], name: str) -> int:
    return int(body.get(name, 0))
