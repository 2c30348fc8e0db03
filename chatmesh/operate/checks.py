"""What the facts of a broker mean: ok, a warning, a failure, or not to be told from here. Pure.

In: facts and the configuration. Out: findings, each with what was found and its mend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chatmesh.broker.streams import StreamSpec
from chatmesh.config import Config
from chatmesh.devbroker import MINIMUM_VERSION
from chatmesh.devbroker.executable import parse_version
from chatmesh.operate.permissions import OF_ROLE, UNTRIED
from chatmesh.operate.streams import Part
from chatmesh.operate.survey import Facts

FULL_WARN, FULL_FAIL = 0.80, 0.95
"""Of a limit. From the last twentieth one busy hour may take all; a full stream refuses."""

CLOCK_WARN_SECONDS = 1.0
MISSED_BEATS = 3
"""A clock that is off by what makes a silent process a dead one takes living ones for dead."""


class State(StrEnum):
    """Of a finding. UNKNOWN: it can't be told from here, and fails nothing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at; `mend` says what to do, where there is something to do."""

    check: str
    state: State
    found: str
    mend: str | None = None


def check(facts: Facts, config: Config) -> list[Finding]:
    """Every finding, in the order in which a person would look."""
    return [
        _server(facts),
        _round_trip(facts, config.batch.flush_ms / 1000),
        _jetstream(facts),
        *_streams(facts),
        *_permissions(facts),
        _replicas(facts, config.streams.replicas),
        *_storage(facts),
        _sync(facts),
        _max_payload(facts, config),
        _clock(facts, MISSED_BEATS * config.heartbeat.interval_seconds),
    ]


def _server(facts: Facts) -> Finding:
    version = str(facts.server.get("version", "of unknown version"))
    where = f"nats-server {version} at {facts.address}"
    parsed = parse_version(f"nats-server: v{version}")
    wanted = ".".join(map(str, MINIMUM_VERSION))
    if parsed is None or parsed < MINIMUM_VERSION:
        return Finding(
            "broker", State.FAIL, f"{where}; {wanted} or newer is needed", f"Upgrade it to {wanted} or newer."
        )
    return Finding("broker", State.OK, where)


def _round_trip(facts: Facts, flush_seconds: float) -> Finding:
    found = f"{facts.round_trip_seconds * 1000:.1f} ms"
    if facts.round_trip_seconds <= flush_seconds:
        return Finding("round trip", State.OK, found)
    return Finding(
        "round trip",
        State.WARN,
        f"{found}, longer than batch.flush_ms ({flush_seconds * 1000:g} ms): every batch waits for it",
        "Run pods and workers near the broker.",
    )


def _jetstream(facts: Facts) -> Finding:
    if facts.has_jetstream is None:
        return _not_asked("jetstream", facts)
    if not facts.has_jetstream:
        return _no_jetstream(facts)
    if facts.account is None:
        return Finding("jetstream", State.OK, "it answers")
    return Finding("jetstream", State.OK, f"{facts.account.get('streams', 0)} streams in this account")


def _no_jetstream(facts: Facts) -> Finding:
    if facts.server.get("jetstream"):
        return Finding(
            "jetstream",
            State.FAIL,
            "the server has it, but it does not answer this account",
            "Enable it for this account; in a cluster, bring back the majority, or wait while a leader is chosen.",
        )
    return Finding(
        "jetstream", State.FAIL, "the server runs without it", "Start the server with it (`nats-server -js`)."
    )


def _not_asked(name: str, facts: Facts) -> Finding:
    if facts.has_jetstream is False:
        return Finding(name, State.UNKNOWN, "not checked: there is no JetStream")
    if not facts.denied:
        return Finding(name, State.UNKNOWN, "not checked: there are no streams")
    return Finding(
        name,
        State.UNKNOWN,
        f"not checked: this user may not publish to {', '.join(facts.denied)}",
        "Allow it, or run this as somebody who may.",
    )


def _streams(facts: Facts) -> Iterator[Finding]:
    if facts.parts is None:
        yield _unread(facts)
        return
    for part in facts.parts:
        name, apply = f"{part.kind} {part.name}", "`chatmesh streams ensure --apply`"
        differences = [change.difference for change in part.changes]
        told = "; ".join(
            f"{each.field} is {each.actual!r}, declared {each.declared!r}" for each in differences
        )
        if part.is_missing:
            yield Finding(name, State.FAIL, "it is not there", f"The first start makes it, or {apply} does.")
        elif all(each.is_harmless for each in differences) and part.kind == "stream" and differences:
            yield Finding(name, State.WARN, told, f"The next start changes it, or {apply} does.")
        elif differences:
            yield Finding(name, State.FAIL, told, f"Set the configuration to it, or change it: {apply}.")
        else:
            yield Finding(name, State.OK, "as declared")


def _unread(facts: Facts) -> Finding:
    if not facts.has_jetstream or facts.problem is None:
        return _not_asked("streams", facts)
    mend = "In a cluster: bring back the majority, or wait while leaders are chosen."
    return Finding("streams", State.FAIL, str(facts.problem.what), mend)


def _permissions(facts: Facts) -> Iterator[Finding]:
    for role, tried in facts.permissions.items():
        name = f"permissions of a {role}"
        refused = [f"{each.verb} {each.entry}" for each in tried if each.refused]
        if refused:
            yield Finding(
                name,
                State.FAIL,
                f"this user may not {', '.join(refused)}",
                f"Allow it at the broker for whoever runs as {facts.id}; docs/operations.md has the whole list.",
            )
        else:
            untried = [entry for entry in OF_ROLE[role].publish if entry in UNTRIED]
            yield Finding(
                name,
                State.OK,
                f"{len(tried)} tried as {facts.id}; not tested, since somebody would notice: {', '.join(untried)}",
            )


def _replicas(facts: Facts, declared: int) -> Finding:
    cluster = facts.server.get("cluster")
    if declared > 1 and not cluster:
        return Finding(
            "replicas",
            State.FAIL,
            f"streams.replicas is {declared}, but the server stands alone",
            f"Form a cluster of {declared} servers, or set streams.replicas: 1.",
        )
    streams = _infos(facts)
    if not streams:
        return _not_asked("replicas", facts)
    lacking = [text for name, info in streams.items() if (text := _lacking(name, info, declared))]
    if lacking:
        return Finding(
            "replicas",
            State.FAIL,
            "; ".join(lacking),
            "Bring the missing servers back; `chatmesh streams ensure --apply` changes the number of copies.",
        )
    copies = "one copy of each stream" if declared == 1 else f"{declared} copies of each stream, all current"
    return Finding("replicas", State.OK, copies)


def _lacking(name: str, info: dict[str, Any], declared: int) -> str | None:
    actual = int(info["config"].get("num_replicas", 1))
    if actual != declared:
        return f"{name} has {actual} of {declared} copies"
    peers = info.get("cluster", {}).get("replicas") or []
    behind = [peer["name"] for peer in peers if peer.get("offline") or not peer.get("current")]
    return f"{name} is not current at {', '.join(behind)}" if behind else None


def _storage(facts: Facts) -> Iterator[Finding]:
    if facts.account is not None:
        limit = int(facts.account.get("limits", {}).get("max_storage", -1))
        used = int(facts.account.get("storage", 0))
        if limit > 0:
            yield _room("storage of the account", used, limit, "Raise the account's max_file.")
        else:
            found = (
                f"{used:,} bytes, no limit of its own; the server's max_file_store is not shown to this user"
            )
            yield Finding("storage of the account", State.OK, found)
    for part in facts.parts or ():
        if isinstance(part.spec, StreamSpec) and not part.is_missing:
            yield _stream_room(part, part.spec)


def _stream_room(part: Part, spec: StreamSpec) -> Finding:
    name, used, limit = f"storage of {part.name}", part.info["state"]["bytes"], part.config["max_bytes"]
    if limit <= 0:
        return Finding(name, State.WARN, f"{used:,} bytes, no limit", f"Set max_bytes ({spec.max_bytes:,}).")
    if spec.discard == "old":
        return Finding(name, State.OK, f"{used:,} of {limit:,} bytes; the oldest goes first")
    return _room(name, used, limit, "Raise its streams.*_max_bytes, or let what is old expire sooner.")


def _room(name: str, used: int, limit: int, mend: str) -> Finding:
    share = used / limit
    found = f"{used:,} of {limit:,} bytes ({share:.0%})"
    if share < FULL_WARN:
        return Finding(name, State.OK, found)
    return Finding(name, State.FAIL if share >= FULL_FAIL else State.WARN, found, mend)


def _sync(facts: Facts) -> Finding:
    hasty = [
        name
        for name, info in _infos(facts).items()
        if info["config"].get("persist_mode", "default") == "async"
    ]
    if hasty:
        return Finding(
            "sync_interval",
            State.FAIL,
            f"persist_mode is async for {', '.join(hasty)}: killing the server loses acknowledged writes",
            "Make these streams anew without it.",
        )
    return Finding(
        "sync_interval",
        State.UNKNOWN,
        "a server shows it to its operator only; the default is two minutes",
        "Ask the server's operator for `sync_interval: always` in its jetstream block, if power loss matters.",
    )


def _max_payload(facts: Facts, config: Config) -> Finding:
    limit = int(facts.server.get("max_payload", 0))
    found = f"{limit:,} bytes"
    if not config.serves_http or limit >= config.http.max_body_bytes:
        return Finding("max_payload", State.OK, found)
    return Finding(
        "max_payload",
        State.WARN,
        f"{found}, less than http.max_body_bytes ({config.http.max_body_bytes:,}): larger requests get 413",
        f"Set the server's max_payload to {config.http.max_body_bytes} or more, or lower http.max_body_bytes.",
    )


def _clock(facts: Facts, fail_seconds: float) -> Finding:
    if facts.ahead_seconds is None:
        return _not_asked("clock", facts)
    ahead = facts.ahead_seconds
    found = f"the server is {abs(ahead) * 1000:.0f} ms {'ahead of' if ahead > 0 else 'behind'} this machine"
    if abs(ahead) <= CLOCK_WARN_SECONDS:
        return Finding("clock", State.OK, found)
    state = State.FAIL if abs(ahead) >= fail_seconds else State.WARN
    return Finding("clock", state, found, "Keep both clocks right, by NTP for example.")


def _infos(facts: Facts) -> dict[str, dict[str, Any]]:
    """JetStream's account of each stream that is there."""
    return {
        part.name: part.info for part in facts.parts or () if part.kind == "stream" and not part.is_missing
    }
