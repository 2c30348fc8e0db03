"""Which of chatmesh's promises hold on a broker as it was found. Pure.

A promise needs parts of the broker: where a finding about one of them failed, it does not hold. Others weaken it. And
some have a limit that no finding shows, since it lies in how the mesh is set up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chatmesh.broker import CONSUMER, REQUESTS
from chatmesh.broker.streams import DEAD_LETTERS, TRANSCRIPT
from chatmesh.config import Config
from chatmesh.operate.findings import Finding, State


class Holds(StrEnum):
    """Whether a promise does. UNKNOWN: too little could be asked."""

    YES = "yes"
    YES_BUT = "yes, but"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Promise:
    """`why` has the limit, and `change` what would lift it; or it names the check whose finding stands behind it."""

    name: str
    text: str
    holds: Holds
    why: str | None = None
    change: str | None = None


Limit = Callable[[Config], tuple[Holds, str, str | None] | None]
"""How far it holds in a mesh set up so, a `why` and a `change`; None: without a limit."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """`needs` and `weakened_by` are names of checks."""

    name: str
    text: str
    needs: tuple[str, ...] = ()
    weakened_by: tuple[str, ...] = ()
    limit: Limit | None = None


def _power(config: Config) -> tuple[Holds, str, str]:
    if config.streams.replicas >= 3:
        why = "it survives any process and one server; when all lose power together, what came since the last sync may go"
        return Holds.YES_BUT, why, "Set `sync_interval: always` at every server."
    why = "it survives the death of any process; a power cut may take what came since the server's last sync"
    change = (
        "Set `sync_interval: always` at the server, or run three of them apart, with streams.replicas: 3."
    )
    return Holds.YES_BUT, why, change


def _as_accepted(_config: Config) -> tuple[Holds, str, None]:
    return Holds.YES_BUT, "it is as durable as what is accepted (P1)", None


def _queue_age(config: Config) -> tuple[Holds, str, str]:
    hours = config.streams.requests_max_age_hours
    why = f"some worker has to take it within {hours:g} hours"
    return Holds.YES_BUT, why, "Keep workers running, or raise streams.requests_max_age_hours."


def _transcript_age(config: Config) -> tuple[Holds, str, str]:
    hours = config.streams.transcript_max_age_hours
    why = f"for {hours:g} hours; an older position gets a reset"
    return Holds.YES_BUT, why, "Raise streams.transcript_max_age_hours."


def _callers(config: Config) -> tuple[Holds, str, str | None] | None:
    """Only pods ask who is calling, so a worker's configuration says nothing about it."""
    if "pod" not in config.roles:
        return Holds.UNKNOWN, "auth.mode stands in the configuration of the pods", None
    if config.auth.mode != "none":
        return None
    why = "auth.mode is none: whoever reaches a pod's port reads and erases everything"
    return Holds.NO, why, "Set auth.mode, or keep pods on loopback or behind a gateway that asks."


_POD, _WORKER = "permissions of a pod", "permissions of a worker"
_QUEUE, _LOG = f"stream {REQUESTS}", f"stream {TRANSCRIPT}"
_TURNS = f"consumer {REQUESTS}/{CONSUMER}"
_ROOM = (f"storage of {TRANSCRIPT}", "storage of the account")

_RULES = (
    _Rule("P1", "accepted means durable", (_QUEUE, _POD, "sync_interval"), ("replicas",), _power),
    _Rule(
        "P2",
        "every accepted message ends once",
        (_QUEUE, _TURNS, _LOG, f"stream {DEAD_LETTERS}", _WORKER),
        _ROOM,
        _queue_age,
    ),
    _Rule("P3", "a reader sees every chunk once, in order", (_LOG, _POD, _WORKER), _ROOM, _transcript_age),
    _Rule(
        "P4",
        "nothing is shown that can't be replayed",
        (_LOG, _WORKER, "sync_interval"),
        ("replicas",),
        _as_accepted,
    ),
    _Rule("P5", "one answer at a time in a session, in order", (_QUEUE, _TURNS, _WORKER)),
    _Rule("P6", "a dead worker does not end an answer", (_QUEUE, _TURNS, _LOG, _WORKER), _ROOM),
    _Rule("P7", "stop means stop", (_LOG, _POD, _WORKER), _ROOM),
    _Rule("P8", "a slow reader costs its own connection only"),
    _Rule("P9", "nobody reads or writes another's session", limit=_callers),
    _Rule("P10", "where a promise depends on the broker, this says so"),
)


def judge(findings: Sequence[Finding], config: Config) -> list[Promise]:
    """Every promise, given what was found."""
    by_check = {finding.check: finding for finding in findings}
    return [_judge(rule, by_check, config) for rule in _RULES]


def _judge(rule: _Rule, findings: dict[str, Finding], config: Config) -> Promise:
    failed = _first_failed(("broker", "jetstream", "streams", *rule.needs) if rule.needs else (), findings)
    weak = _first_failed(rule.weakened_by, findings)
    if failed is not None:
        return _promise(rule, Holds.NO, f"see {failed.check}")
    if any(need.startswith("stream ") and need not in findings for need in rule.needs):
        return _promise(rule, Holds.UNKNOWN, "the streams could not be looked at")
    if weak is not None:
        return _promise(rule, Holds.YES_BUT, f"see {weak.check}")
    limit = rule.limit(config) if rule.limit is not None else None
    return _promise(rule, Holds.YES) if limit is None else _promise(rule, *limit)


def _first_failed(checks: Sequence[str], findings: dict[str, Finding]) -> Finding | None:
    # Of every part of the transcript, where it lies in parts.
    found = (
        finding
        for name in checks
        for check, finding in findings.items()
        if check == name or check.startswith(f"{name}_")
    )
    return next((finding for finding in found if finding.state is State.FAIL), None)


def _promise(rule: _Rule, holds: Holds, why: str | None = None, change: str | None = None) -> Promise:
    return Promise(rule.name, rule.text, holds, why, change)
