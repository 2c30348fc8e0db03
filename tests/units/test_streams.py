"""Streams as declared, and what is said of a broker that has them otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chatmesh.broker.ensure import differences
from chatmesh.broker.streams import ConsumerSpec, StreamSettings, StreamSpec, declared

SETTINGS = StreamSettings(
    replicas=3,
    requests_max_age_seconds=24 * 3600,
    transcript_max_age_seconds=168 * 3600,
    requests_max_bytes=1,
    transcript_max_bytes=2,
    sessions_max_bytes=3,
    registry_max_bytes=4,
    presence_max_bytes=5,
    dead_letters_max_bytes=6,
)
STREAMS = {spec.name: spec for spec in declared(SETTINGS)}
REQUESTS = STREAMS["WORKFLOW_REQUESTS"]
SEED = {
    "name": "WORKFLOW_REQUESTS",
    "subjects": ["chat.workflow.execute.*"],
    "retention": "workqueue",
    "max_age": 24 * 3600 * 10**9,
    "storage": "file",
    "max_consumers": -1,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
    "discard": "old",
    "num_replicas": 3,
    "duplicate_window": 120 * 10**9,
}
"""As the seed's AddStream makes it, with what the server fills in."""


def changed(spec: StreamSpec, **actual: Any) -> list[tuple[str, bool]]:
    """Which fields differ, and whether each is harmless."""
    found = differences(spec.name, spec.wire(), spec.wire() | actual)
    return [(difference.field, difference.is_harmless) for difference in found]


@pytest.mark.parametrize("spec", STREAMS.values(), ids=STREAMS)
def test_a_stream_as_declared_has_no_differences(spec: StreamSpec) -> None:
    assert differences(spec.name, spec.wire(), spec.wire() | {"consumer_limits": {}, "max_msgs": -1}) == []


@pytest.mark.parametrize("spec", STREAMS.values(), ids=STREAMS)
def test_a_field_that_the_server_leaves_out_has_its_zero_value(spec: StreamSpec) -> None:
    sent = {name: value for name, value in spec.wire().items() if value}
    assert differences(spec.name, spec.wire(), sent) == []


def test_a_stream_made_from_the_seed_needs_harmless_changes_only() -> None:
    found = differences(REQUESTS.name, REQUESTS.wire(), SEED)
    assert {difference.field for difference in found} == {"max_bytes", "discard", "allow_direct"}
    assert all(difference.is_harmless for difference in found)


@pytest.mark.parametrize(
    ("actual", "is_harmless"),
    [
        pytest.param({"max_bytes": -1}, True, id="a limit where there was none"),
        pytest.param({"max_bytes": 7}, False, id="a limit of somebody"),
        pytest.param({"discard": "old"}, True, id="refusing instead of evicting"),
        pytest.param({"allow_direct": False}, True, id="direct reads"),
        pytest.param({"max_age": 1}, False, id="another age"),
        pytest.param({"retention": "limits"}, False, id="another retention"),
        pytest.param({"storage": "memory"}, False, id="another storage"),
        pytest.param({"num_replicas": 1}, False, id="other replicas"),
        pytest.param({"subjects": ["chat.workflow.execute.*", "more"]}, False, id="more subjects"),
        pytest.param({"subjects": []}, False, id="no subjects"),
        pytest.param({"duplicate_window": 1}, False, id="another window for duplicates"),
    ],
)
def test_only_what_takes_nothing_from_anybody_is_harmless(actual: dict[str, Any], is_harmless: bool) -> None:
    assert changed(REQUESTS, **actual) == [(next(iter(actual)), is_harmless)]


def test_the_order_of_subjects_is_no_difference() -> None:
    spec = STREAMS["CHAT_TRANSCRIPT"]
    assert changed(spec, subjects=list(reversed(spec.subjects))) == []


def test_a_difference_says_where_what_is_and_what_should_be() -> None:
    (difference,) = differences("S", {"storage": "file"}, {"storage": "memory"})
    assert str(difference) == "S: storage is memory, declared file"


# --- what is declared ---------------------------------------------------------------------------------------------------


def test_the_requests_stream_is_the_seeds() -> None:
    wire = REQUESTS.wire()
    assert {name: wire[name] for name in ("name", "subjects", "retention", "max_age")} == {
        name: SEED[name] for name in ("name", "subjects", "retention", "max_age")
    }


def test_streams_that_hold_truth_refuse_when_full_and_survive_a_restart() -> None:
    for spec in STREAMS.values():
        assert spec.wire()["storage"] == "file"
        assert spec.wire()["discard"] == ("old" if spec.name == "CHAT_PRESENCE" else "new")


def test_no_stream_can_take_the_disk_from_the_others() -> None:
    assert [spec.max_bytes for spec in STREAMS.values()] == [1, 2, 3, 4, 5, 6]


def test_every_stream_has_the_configured_replicas() -> None:
    assert {spec.replicas for spec in STREAMS.values()} == {3}


def test_no_two_streams_take_the_same_subject() -> None:
    subjects = [subject for spec in STREAMS.values() for subject in spec.subjects]
    assert len(subjects) == len(set(subjects))
    assert all(subject.startswith("chat.") for subject in subjects)
    assert not any("CHATMESH" in name for name in STREAMS)


def test_the_window_for_duplicates_is_never_longer_than_the_age() -> None:
    """The server refuses a stream that has it otherwise."""
    assert replace(REQUESTS, max_age_seconds=60).wire()["duplicate_window"] == 60 * 10**9
    assert REQUESTS.wire()["duplicate_window"] == 120 * 10**9


def test_the_consumer_is_the_seeds_durable_with_explicit_acks() -> None:
    wire = ConsumerSpec("WORKFLOW_REQUESTS", "workflow-processor", 2.5).wire()
    assert (wire["durable_name"], wire["ack_policy"]) == ("workflow-processor", "explicit")
    assert wire["ack_wait"] == 2_500_000_000
    assert (wire["max_deliver"], wire["max_ack_pending"]) == (-1, -1)
    assert "backoff" not in wire
