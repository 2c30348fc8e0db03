"""What a run found, for people and for programs: pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from chatmesh.client import Fate
from chatmesh.operate.chaos.check import Finding, Kind
from chatmesh.operate.chaos.plan import Fault, Size
from chatmesh.operate.chaos.recovery import Hit, Silence, cause, slowest, slowest_by_fault

SHOWN_FINDINGS = 20
"""In the table; the JSON has them all."""

SHOWN_SILENCES = 10
"""In the JSON: the longest ones."""


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run. `reconnects`: how often a reader came back to a pod. `skipped`: faults whose target was away."""

    seed: int
    size: Size
    is_fenced: bool
    seconds: float
    sessions: int
    fates: Counter[Fate]
    chunks: int
    reconnects: int
    skipped: int
    failed_starts: int
    hits: list[Hit]
    silences: list[Silence]
    findings: list[Finding]

    @property
    def faults(self) -> Counter[Fault]:
        return Counter(hit.fault for hit in self.hits)

    @property
    def holds(self) -> bool:
        return not self.findings

    def count(self, *kinds: Kind) -> int:
        """Findings of these kinds."""
        return sum(finding.kind in kinds for finding in self.findings)

    def wire(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "holds": self.holds,
            "seed": self.seed,
            "processes": asdict(self.size),
            "fenced": self.is_fenced,
            "seconds": round(self.seconds, 1),
            "sessions": self.sessions,
            "messages": {fate.value: self.fates[fate] for fate in Fate},
            "chunks": self.chunks,
            "reconnects": self.reconnects,
            "faults": {fault.value: count for fault, count in sorted(self.faults.items())},
            "faults_skipped": self.skipped,
            "failed_starts": self.failed_starts,
            "slowest_seconds_by_fault": {
                fault.value: round(seconds, 2)
                for fault, seconds in sorted(slowest_by_fault(self.silences, self.hits).items())
            },
            "slowest": [self._silence(silence) for silence in slowest(self.silences, SHOWN_SILENCES)],
            "timeline": [_timed(hit) for hit in sorted(self.hits, key=lambda hit: hit.began)],
            "found": {kind.value: self.count(kind) for kind in Kind},
            "violations": [asdict(finding) for finding in self.findings],
        }

    def _silence(self, silence: Silence) -> dict[str, Any]:
        hit = cause(silence, self.hits)
        return {
            "session_id": silence.session_id,
            "began_seconds": round(silence.began, 2),
            "seconds": round(silence.seconds, 2),
            "fault": hit.fault.value if hit is not None else None,
        }


def rows(report: Report) -> list[tuple[str, str, bool]]:
    """What the table says: a name, its value, and whether that is as it should be."""
    fates, size = report.fates, report.size
    longest = slowest_by_fault(report.silences, report.hits)
    return [
        ("seed", str(report.seed), True),
        ("processes", f"{size.servers} servers, {size.pods} pods, {size.workers} workers", True),
        ("fence", "on" if report.is_fenced else "OFF", report.is_fenced),
        ("time", f"{report.seconds:.0f} s", True),
        ("sessions", str(report.sessions), True),
        (
            "messages",
            f"{fates[Fate.ACCEPTED]} accepted, {fates[Fate.REFUSED]} refused, {fates[Fate.UNKNOWN]} unknown",
            True,
        ),
        ("chunks read", str(report.chunks), True),
        ("reconnects", str(report.reconnects), True),
        *[_fault_row(fault, count, longest[fault]) for fault, count in sorted(report.faults.items())],
        _row(report, "lost", Kind.LOST),
        _row(report, "repeated", Kind.REPEATED),
        _row(report, "out of order", Kind.OUT_OF_ORDER),
        _row(report, "wrong text or end", Kind.WRONG_TEXT, Kind.WRONG_END, Kind.TAKEN_BACK),
        _row(report, "of other sessions", Kind.FOREIGN),
        _row(report, "false refusals", Kind.NOT_ACCEPTED),
        _row(report, "transcript", Kind.TRANSCRIPT),
        _row(report, "left in the queue", Kind.QUEUE),
        _row(report, "text in logs", Kind.LEAK),
        _row(report, "processes", Kind.PROCESS),
        ("slowest recovery", _slowest(report.silences), True),
    ]


def details(report: Report) -> list[str]:
    """The first findings, one a line."""
    lines = [_line(finding) for finding in report.findings[:SHOWN_FINDINGS]]
    more = len(report.findings) - len(lines)
    return [*lines, f"and {more} more; --json has them"] if more > 0 else lines


def verdict(report: Report) -> str:
    """The last line."""
    if report.holds:
        return "Every promise held."
    if report.is_fenced:
        return f"{len(report.findings)} violations."
    return f"{len(report.findings)} violations: without the fence that is what this run is to show."


def _row(report: Report, name: str, *kinds: Kind) -> tuple[str, str, bool]:
    count = report.count(*kinds)
    return name, str(count), count == 0


def _fault_row(fault: Fault, count: int, seconds: float) -> tuple[str, str, bool]:
    return f"  {fault}", f"{count} times, slowest recovery {seconds:.1f} s", True


def _slowest(silences: list[Silence]) -> str:
    for silence in slowest(silences, 1):
        return f"{silence.seconds:.1f} s, in {silence.session_id} at second {silence.began:.0f}"
    return "none was worth noting"


def _timed(hit: Hit) -> dict[str, Any]:
    return {
        "fault": hit.fault.value,
        "target": hit.target,
        "began_seconds": round(hit.began, 2),
        "ended_seconds": round(hit.ended, 2),
    }


def _line(finding: Finding) -> str:
    who = f"({finding.who})" if finding.who else ""
    words = [f"{finding.kind}:", finding.where, finding.message_id, finding.detail, who]
    return " ".join(word for word in words if word)
