"""What the facts of a broker mean: ok, a warning, a failure, or not to be told from here. Pure.

In: facts and the configuration. Out: findings, each with what was found and its mend.
"""

from __future__ import annotations

from collections.abc import Iterator

from chatmesh.config import Config
from chatmesh.devbroker import MINIMUM_VERSION
from chatmesh.devbroker.executable import parse_version
from chatmesh.operate import stream_checks
from chatmesh.operate.findings import Finding, State, not_asked
from chatmesh.operate.permissions import OF_ROLE, UNTRIED
from chatmesh.operate.survey import Facts

CLOCK_WARN_SECONDS = 1.0
MISSED_BEATS = 3
"""A clock that is off by what makes a silent process a dead one takes living ones for dead."""


def check(facts: Facts, config: Config) -> list[Finding]:
    """Every finding, in the order in which a person would look."""
    return [
        _server(facts),
        _round_trip(facts, config.batch.flush_ms / 1000),
        _jetstream(facts),
        *stream_checks.streams(facts),
        *_permissions(facts),
        stream_checks.replicas(facts, config.streams.replicas),
        *stream_checks.storage(facts),
        stream_checks.sync(facts),
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
        return not_asked("jetstream", facts)
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
        return not_asked("clock", facts)
    ahead = facts.ahead_seconds
    found = f"the server is {abs(ahead) * 1000:.0f} ms {'ahead of' if ahead > 0 else 'behind'} this machine"
    if abs(ahead) <= CLOCK_WARN_SECONDS:
        return Finding("clock", State.OK, found)
    state = State.FAIL if abs(ahead) >= fail_seconds else State.WARN
    return Finding("clock", state, found, "Keep both clocks right, by NTP for example.")
