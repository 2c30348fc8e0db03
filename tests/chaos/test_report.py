"""What a report says: the silence is put down to a fault, and what is wrong is red, listed, and in the JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from chatmesh.cli.commands.mending import FAULTS
from chatmesh.client import Fate
from chatmesh.operate.chaos import Fault, Report, Size, details, rows, verdict
from chatmesh.operate.chaos.check import Finding, Kind
from chatmesh.operate.chaos.recovery import Hit, Silence, cause, slowest_by_fault

KILL = Hit(Fault.WORKER_KILL, "worker-1", 10.0, 11.0)
STOP = Hit(Fault.POD_STOP, "pod-2", 12.0, 15.0)
LOST = Finding(Kind.LOST, "s1", "m1", "chunks 3 never came", "live reader")


def report(**changes: Any) -> Report:
    given: dict[str, Any] = {
        "seed": 5,
        "size": Size(2, 3, 1),
        "is_fenced": True,
        "seconds": 60.0,
        "sessions": 20,
        "fates": Counter({Fate.ACCEPTED: 7, Fate.REFUSED: 2}),
        "chunks": 100,
        "reconnects": 3,
        "skipped": 0,
        "failed_starts": 0,
        "hits": [KILL, STOP],
        "silences": [Silence("s1", 9.9, 12.9), Silence("s2", 12.1, 13.0), Silence("s3", 50.0, 51.0)],
        "findings": [],
    }
    return Report(**given | changes)


def test_a_silence_is_put_down_to_the_fault_that_had_begun_last() -> None:
    assert cause(Silence("s", 9.9, 20.0), [KILL, STOP]) is KILL
    assert cause(Silence("s", 12.5, 20.0), [KILL, STOP]) is STOP
    assert cause(Silence("s", 5.0, 20.0), [KILL, STOP]) is None
    assert cause(Silence("s", 40.0, 41.0), [KILL, STOP]) is None


def test_slowest_recovery_is_told_for_each_kind_of_fault_that_happened() -> None:
    found = slowest_by_fault(report().silences, [KILL, STOP, Hit(Fault.POD_KILL, "pod-1", 30.0, 31.0)])
    assert {fault: round(seconds, 1) for fault, seconds in found.items()} == {
        Fault.WORKER_KILL: 3.0,
        Fault.POD_STOP: 0.9,
        Fault.POD_KILL: 0.0,
    }


def test_a_run_without_findings_says_so_and_one_with_them_lists_them() -> None:
    assert verdict(report()) == "Every promise held."
    assert all(is_good for _, _, is_good in rows(report()))
    broken = report(findings=[LOST] * 30)
    assert not broken.holds
    assert ("lost", "30", False) in rows(broken)
    assert details(broken)[0] == "lost: s1 m1 chunks 3 never came (live reader)"
    assert details(broken)[-1] == "and 10 more; --json has them"
    assert verdict(broken) == "30 violations."


def test_every_kind_of_finding_has_a_row() -> None:
    for kind in Kind:
        finding = Finding(kind, "s1", "", "")
        assert [value for _, value, is_good in rows(report(findings=[finding])) if not is_good] == ["1"], kind


def test_the_json_has_every_finding_and_when_what_was_hit() -> None:
    body = json.loads(json.dumps(report(findings=[LOST] * 30).wire()))
    assert body["holds"] is False
    assert body["messages"] == {"accepted": 7, "refused": 2, "unknown": 0}
    assert len(body["violations"]) == body["found"]["lost"] == 30
    assert [each["target"] for each in body["timeline"]] == ["worker-1", "pod-2"]
    assert body["slowest"][0] == {
        "session_id": "s1",
        "began_seconds": 9.9,
        "seconds": 3.0,
        "fault": "worker-kill",
    }


def test_the_command_line_names_every_fault() -> None:
    assert FAULTS.split(",") == list(Fault)
