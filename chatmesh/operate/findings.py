"""What a check says: ok, a warning, a failure, or not to be told from here. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chatmesh.operate.survey import Facts


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


def not_asked(name: str, facts: Facts) -> Finding:
    """A check that had nothing to look at, and why."""
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
