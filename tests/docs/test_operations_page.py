"""docs/operations.md and the code agree: metrics, exit codes, and the streams of docs/protocol.md."""

from __future__ import annotations

import re

from chatmesh.broker.streams import StreamSettings, declared
from chatmesh.cli.reference import render as render_commands
from chatmesh.errors import Exit
from chatmesh.protocol import headers, subjects
from chatmesh.telemetry.generate import declared as declared_metrics
from chatmesh.telemetry.generate import render
from tests.docs.pages import page, rows

OPERATIONS, PROTOCOL = page("docs/operations.md"), page("docs/protocol.md")


def test_page_of_the_commands_is_up_to_date() -> None:
    assert page("docs/cli.md").text == render_commands(), "run python -m chatmesh.cli.reference"


def test_the_page_of_metrics_is_made_of_the_declarations() -> None:
    assert page("docs/metrics.md").text == render(), "run python -m chatmesh.telemetry.generate"


def test_every_metric_says_what_it_is_in_one_row() -> None:
    found = list(declared_metrics())
    assert len(found) == len({name for name, *_ in found})
    assert len(list(rows(page("docs/metrics.md").text))) == len(found)
    for name, _, labels, meaning in found:
        assert meaning.endswith("."), name
        assert "|" not in meaning
        assert not set(labels) & {"session_id", "message_id", "pod_id", "worker_id", "user", "tenant", "id"}


def test_every_exit_code_is_in_the_table() -> None:
    named = [int(cells[0]) for cells in rows(OPERATIONS.section("Exit codes"))]
    assert named == sorted(Exit)


def test_every_stream_is_in_the_table_with_its_settings() -> None:
    specs = {spec.name: spec for spec in declared(StreamSettings(1, 24 * 3600, 168 * 3600, 1, 2, 3, 4, 5, 6))}
    table = {cells[0].strip("`"): cells for cells in rows(PROTOCOL.section("Streams and the consumer"))}
    assert set(table) == set(specs)
    for name, spec in specs.items():
        _, _, retention, discard, max_age, _, more = table[name]
        assert retention.replace(" ", "") == spec.retention
        assert discard == spec.discard
        hours = 168 if "transcript_max_age_hours" in max_age else int(re.findall(r"(\d+) h", max_age)[0])
        assert hours * 3600 == spec.max_age_seconds
        assert ("1 message a subject" in more) == (spec.max_msgs_per_subject == 1)
        assert ("message TTL" in more) == spec.allow_msg_ttl
        assert ("roll-up headers" in more) == spec.allow_rollup_hdrs


def test_every_subject_and_every_header_of_ours_is_on_the_page() -> None:
    made = {
        subject.replace("*", "{}")
        for name, subject in vars(subjects).items()
        if name.isupper() and isinstance(subject, str) and subject != subjects.PART
    }
    cells = [cells[0].strip("`") for cells in rows(PROTOCOL.section("Subjects"))]
    assert made <= {re.sub(r"\{\w+\}", "{}", subject) for subject in cells}
    named = (
        headers.WIRE,
        headers.ERASE,
        headers.HOME,
        headers.REASON,
        headers.RETRY_OF,
        headers.SENT,
        headers.TRACEPARENT,
    )
    for header in named:
        assert f"`{header}`" in PROTOCOL.section("Headers")
