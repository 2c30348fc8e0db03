"""`chatmesh streams ensure` says what differs, changes nothing unless told, and then as much as JetStream allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.config import load
from tests.operate.support import NAMES, Start, ensure, ensure_json, finished
from tests.support.broker import Broker
from tests.support.processes import free_port
from tests.support.stored import api, update_stream

pytestmark = pytest.mark.slow

CONSUMER = "WORKFLOW_REQUESTS/workflow-processor"


async def everything(client: Client) -> dict[str, Any]:
    """Each stream's and consumer's configuration, as JetStream has it."""
    found: dict[str, Any] = {}
    for info in (await api(client, "STREAM.LIST"))["streams"] or []:
        name = info["config"]["name"]
        found[name] = info["config"]
        for consumer in (await api(client, f"CONSUMER.LIST.{name}"))["consumers"] or []:
            found[f"{name}/{consumer['name']}"] = consumer["config"]
    return found


async def made_by_us(client: Client) -> None:
    """Everything as declared, made without the command."""
    keeper = Mesh(load(None, environ={}, overrides=[]).config).broker.streams
    for spec in keeper.declared:
        await api(client, f"STREAM.CREATE.{spec.name}", spec.wire())
    body = {"stream_name": keeper.consumer.stream, "config": keeper.consumer.wire(), "action": "create"}
    await api(client, f"CONSUMER.CREATE.{keeper.consumer.stream}.{keeper.consumer.name}", body)


def fields(part: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {difference["field"]: difference for difference in part["differences"]}


async def remake_consumer(client: Client, **config: Any) -> None:
    """Somebody else's durable in place of ours."""
    await api(client, "CONSUMER.DELETE.WORKFLOW_REQUESTS.workflow-processor")
    wanted = {"durable_name": "workflow-processor", "name": "workflow-processor", "ack_policy": "explicit"}
    body = {"stream_name": "WORKFLOW_REQUESTS", "config": wanted | config, "action": "create"}
    await api(client, "CONSUMER.CREATE.WORKFLOW_REQUESTS.workflow-processor", body)


async def test_missing_streams_are_told_and_not_made(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    code, parts = await ensure_json(chatmesh, broker.url)
    assert code == 1
    assert list(parts) == [*NAMES, CONSUMER]
    assert {part["state"] for part in parts.values()} == {"missing"}
    assert {part["action"] for part in parts.values()} == {"none"}
    assert await everything(nats_client) == {}


async def test_missing_streams_are_made_with_apply_and_then_agree(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    code, parts = await ensure_json(chatmesh, broker.url, "--apply")
    assert code == 0
    assert {part["action"] for part in parts.values()} == {"created"}
    assert set(await everything(nats_client)) == {*NAMES, CONSUMER}
    code, process = await ensure(chatmesh, broker.url)
    assert code == 0
    assert process.stdout == "All as declared: 6 streams and their consumer.\n"


async def test_differences_are_told_field_by_field_and_nothing_is_changed(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await made_by_us(nats_client)
    await update_stream(
        nats_client, "WORKFLOW_REQUESTS", max_age=7_200_000_000_000, max_bytes=-1, discard="old"
    )
    before = await everything(nats_client)
    code, parts = await ensure_json(chatmesh, broker.url)
    assert code == 1
    assert [name for name, part in parts.items() if not part["agrees"]] == ["WORKFLOW_REQUESTS"]
    found = fields(parts["WORKFLOW_REQUESTS"])
    assert set(found) == {"max_age", "max_bytes", "discard"}
    assert found["max_age"]["actual"] == 7_200_000_000_000
    assert found["max_age"]["declared"] == 24 * 3_600_000_000_000
    assert not found["max_age"]["harmless"]
    assert found["max_bytes"]["harmless"]
    assert found["discard"]["harmless"]
    assert not any(difference["changed"] for difference in found.values())
    assert await everything(nats_client) == before


async def test_differences_are_changed_with_apply_and_what_is_not_declared_stays(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await made_by_us(nats_client)
    before = await everything(nats_client)
    await update_stream(nats_client, "CHAT_TRANSCRIPT", max_age=7_200_000_000_000, description="ours")
    await remake_consumer(
        nats_client, ack_wait=60_000_000_000, max_deliver=3, max_ack_pending=-1, max_waiting=8192
    )
    code, parts = await ensure_json(chatmesh, broker.url, "--apply")
    assert code == 0
    assert {name for name, part in parts.items() if part["action"] == "changed"} == {
        "CHAT_TRANSCRIPT",
        CONSUMER,
    }
    assert set(fields(parts[CONSUMER])) == {"ack_wait", "max_deliver"}
    now = await everything(nats_client)
    assert now["CHAT_TRANSCRIPT"] == before["CHAT_TRANSCRIPT"] | {"description": "ours"}
    assert now[CONSUMER]["ack_wait"] == before[CONSUMER]["ack_wait"]
    assert now[CONSUMER]["max_deliver"] == -1


async def test_what_a_stream_can_not_change_is_explained_and_the_rest_is_changed(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    config = {"name": "WORKFLOW_REQUESTS", "subjects": ["chat.workflow.execute.*"], "retention": "limits"}
    await api(nats_client, "STREAM.CREATE.WORKFLOW_REQUESTS", config)
    code, parts = await ensure_json(chatmesh, broker.url, "--apply")
    assert code == 1
    found = fields(parts["WORKFLOW_REQUESTS"])
    assert "nats stream rm WORKFLOW_REQUESTS" in found["retention"]["obstacle"]
    assert [name for name, difference in found.items() if not difference["changed"]] == ["retention"]
    now = await everything(nats_client)
    assert now["WORKFLOW_REQUESTS"]["retention"] == "limits"
    assert now["WORKFLOW_REQUESTS"]["discard"] == "new"
    assert now["WORKFLOW_REQUESTS"]["max_bytes"] > 0
    # The other streams were none the worse for it.
    assert [name for name, part in parts.items() if not part["agrees"]] == ["WORKFLOW_REQUESTS"]


@pytest.mark.slow
async def test_update_that_the_server_refuses_is_told_in_its_words(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    """A stream in memory stays there, and the declared size is past what this server has of it."""
    config = {"name": "CHAT_PRESENCE", "subjects": ["chat.pod.*.heartbeat"], "storage": "memory"}
    await api(nats_client, "STREAM.CREATE.CHAT_PRESENCE", config)
    size = ("--set", "streams.presence_max_bytes=1000000000")
    code, parts = await ensure_json(chatmesh, broker.url, "--apply", *size)
    assert code == 1
    part = parts["CHAT_PRESENCE"]
    assert "nats stream rm CHAT_PRESENCE" in fields(part)["storage"]["obstacle"]
    assert "insufficient" in part["error"]
    assert (await everything(nats_client))["CHAT_PRESENCE"]["subjects"] == ["chat.pod.*.heartbeat"]


async def test_push_durable_of_the_same_name_is_explained_and_left_alone(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await made_by_us(nats_client)
    await remake_consumer(nats_client, deliver_subject="somebody.else", ack_wait=60_000_000_000)
    before = await everything(nats_client)
    code, process = await ensure(chatmesh, broker.url, "--apply")
    assert code == 1
    assert "push consumer" in process.stdout
    assert "nats consumer rm WORKFLOW_REQUESTS workflow-processor" in process.stdout
    assert await everything(nats_client) == before


async def test_stream_whose_subjects_belong_to_another_is_refused_and_the_other_named(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await api(nats_client, "STREAM.CREATE.THEIRS", {"name": "THEIRS", "subjects": ["chat.workflow.>"]})
    code, parts = await ensure_json(chatmesh, broker.url, "--apply")
    assert code == 1
    assert "belong to THEIRS" in parts["WORKFLOW_REQUESTS"]["error"]
    assert parts["CHAT_TRANSCRIPT"]["action"] == "created"


async def test_process_that_finds_other_streams_names_the_command(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await made_by_us(nats_client)
    await update_stream(nats_client, "CHAT_TRANSCRIPT", max_age=7_200_000_000_000)
    code, process = await finished(chatmesh, "run", "--role", "worker", "--set", f"nats.servers={broker.url}")
    assert code == 2
    last = process.stderr.splitlines()[-1]
    assert "CHAT_TRANSCRIPT: max_age is 2h, declared 7d" in last
    assert "`chatmesh streams ensure --apply`" in last


async def test_output_that_is_no_terminal_has_no_colour(chatmesh: Start, broker: Broker) -> None:
    code, process = await ensure(chatmesh, broker.url)
    assert code == 1
    assert "\x1b" not in process.stdout
    assert process.stderr == ""
    assert process.stdout.count("--apply creates it") == 7


@pytest.mark.slow
async def test_streams_are_compared_with_the_configuration_that_was_given(
    chatmesh: Start, broker: Broker, nats_client: Client, tmp_path: Path
) -> None:
    await made_by_us(nats_client)
    file = tmp_path / "mesh.yaml"
    file.write_text("streams: {requests_max_age_hours: 5}\n")
    code, process = await ensure(chatmesh, broker.url, "-c", str(file), "--set", "worker.ack_wait_seconds=9")
    assert code == 1
    rows = [line.split() for line in process.stdout.splitlines()]
    assert ["WORKFLOW_REQUESTS", "max_age", "5h", "1d", "--apply", "changes", "it"] in rows
    assert [CONSUMER, "ack_wait", "9s", "3s", "--apply", "changes", "it"] in rows


async def test_broker_that_is_away_is_exit_3(chatmesh: Start) -> None:
    code, process = await ensure(
        chatmesh, f"nats://127.0.0.1:{free_port()}", "--set", "nats.connect_seconds=1"
    )
    assert code == 3
    assert "no NATS server answered" in process.stderr
    assert process.stdout == ""


@pytest.mark.slow
async def test_broker_without_jetstream_is_exit_3(chatmesh: Start, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, jetstream=False)
    try:
        code, process = await ensure(chatmesh, broker.url)
    finally:
        broker.stop()
    assert code == 3
    assert "JetStream" in process.stderr


async def test_wrong_password_is_exit_4(chatmesh: Start, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, user="ann", password="right")
    try:
        code, process = await ensure(
            chatmesh, broker.url, "--set", "nats.user=ann", "--set", "nats.password=wrong"
        )
    finally:
        broker.stop()
    assert code == 4
    assert "does not accept our credentials" in process.stderr
    assert "wrong" not in process.stderr


async def test_embedded_server_has_nobody_to_ask_and_is_exit_2(chatmesh: Start) -> None:
    code, process = await finished(chatmesh, "health", "pod", "--set", "nats.embedded=true")
    assert code == 2
    assert "nats.servers" in process.stderr


@pytest.mark.slow
async def test_health_is_still_answered_through_the_same_way(chatmesh: Start, broker: Broker) -> None:
    worker = chatmesh("run", "--role", "worker", "--id", "w", "--set", f"nats.servers={broker.url}")
    await worker.wait_for_line('"event": "app.ready"', stream="stderr")
    code, process = await finished(
        chatmesh, "health", "w", "--worker", "--json", "--set", f"nats.servers={broker.url}"
    )
    assert code == 0
    assert json.loads(process.stdout)["status"] == "healthy"
