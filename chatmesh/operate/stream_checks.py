"""What the facts of a broker mean for the streams: declared, copied, with room, and on the disk. Pure.

In: facts. Out: findings, each with what was found and its mend.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatmesh.broker.streams import StreamSpec
from chatmesh.operate.findings import Finding, State, not_asked
from chatmesh.operate.streams import Part
from chatmesh.operate.survey import Facts

FULL_WARN, FULL_FAIL = 0.80, 0.95
"""Of a limit. From the last twentieth one busy hour may take all; a full stream refuses."""


def streams(facts: Facts) -> Iterator[Finding]:
    """Each stream and the consumer, as declared or not."""
    if facts.parts is None:
        yield _unread(facts)
        return
    for part in facts.parts:
        name, apply = f"{part.kind} {part.name}", "`chatmesh streams ensure --apply`"
        differences = [change.difference for change in part.changes]
        told = "; ".join(each.told for each in differences)
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
        return not_asked("streams", facts)
    mend = "In a cluster: bring back the majority, or wait while leaders are chosen."
    return Finding("streams", State.FAIL, str(facts.problem.what), mend)


def replicas(facts: Facts, declared: int) -> Finding:
    """Whether every stream has its copies, and all of them are current."""
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
        return not_asked("replicas", facts)
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


def storage(facts: Facts) -> Iterator[Finding]:
    """How full the account and each stream is."""
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


def sync(facts: Facts) -> Finding:
    """Whether an acknowledged write is on the disk."""
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


def _infos(facts: Facts) -> dict[str, dict[str, Any]]:
    """JetStream's account of each stream that is there."""
    return {
        part.name: part.info for part in facts.parts or () if part.kind == "stream" and not part.is_missing
    }
