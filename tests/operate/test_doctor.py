"""`chatmesh doctor`: each thing that can be wrong with a broker is caused, and found with its mend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.config import Config, load
from chatmesh.errors import BrokerUnreachableError, JetStreamMissingError
from chatmesh.operate import doctor
from chatmesh.operate.checks import check
from chatmesh.operate.findings import Finding, State
from chatmesh.operate.permissions import LOOKING, POD, WORKER, Needs
from chatmesh.operate.promises import Holds, judge
from chatmesh.operate.survey import Facts
from tests.cluster.support import wait_replicated
from tests.operate.support import NAMES, Start, ensure, finished
from tests.support.broker import Broker
from tests.support.cluster import Cluster
from tests.support.mesh import client_of, running
from tests.support.processes import Process, free_port
from tests.support.reading import events, post
from tests.support.stored import api, update_stream
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

PATIENT = "batch.flush_ms=10000"
"""The round trip of a machine that runs other tests too is no finding."""
QUEUE, CONSUMER = "stream WORKFLOW_REQUESTS", "consumer WORKFLOW_REQUESTS/workflow-processor"


class Diagnosis:
    """What the command said with `--json`."""

    def __init__(self, code: int, process: Process) -> None:
        self.code = code
        self.stderr = process.stderr
        answer = json.loads(process.stdout)
        assert answer["fit"] is (code == 0)
        assert answer["exit_code"] == code
        self.findings = {finding["check"]: finding for finding in answer["findings"]}
        self.promises = {promise["name"]: promise for promise in answer["promises"]}

    def in_state(self, state: str) -> list[str]:
        return [name for name, finding in self.findings.items() if finding["state"] == state]

    def holding(self, holds: str) -> list[str]:
        return [name for name, promise in self.promises.items() if promise["holds"] == holds]


async def examined(start: Start, url: str, *settings: str) -> Diagnosis:
    given = [part for setting in (f"nats.servers={url}", PATIENT, *settings) for part in ("--set", setting)]
    return Diagnosis(*await finished(start, "doctor", "--json", *given))


@pytest.fixture
async def made(broker: Broker, chatmesh: Start) -> None:
    """The streams, as declared."""
    code, process = await ensure(chatmesh, broker.url, "--apply")
    assert code == 0, process.report()


@pytest.mark.usefixtures("made")
async def test_good_broker_has_nothing_to_mend_and_says_which_promises_depend_on_its_operator(
    chatmesh: Start, broker: Broker
) -> None:
    found = await examined(chatmesh, broker.url)
    assert found.code == 0
    assert found.in_state("fail") == found.in_state("warn") == []
    assert found.in_state("unknown") == ["sync_interval"]
    assert {f"stream {name}" for name in NAMES} | {CONSUMER} <= set(found.in_state("ok"))
    assert "not tested" in found.findings["permissions of a worker"]["found"]
    assert list(found.promises) == [f"P{number}" for number in range(1, 11)]
    assert found.holding("no") == ["P9"]
    assert "power cut" in found.promises["P1"]["why"]
    assert "sync_interval: always" in found.promises["P1"]["change"]
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("settings", "holds", "why"),
    [
        ([], Holds.NO, "auth.mode is none"),
        (["auth.mode=api_keys", "auth.keys_file=keys.yaml"], Holds.YES, None),
        (["roles=worker"], Holds.UNKNOWN, "configuration of the pods"),
    ],
)
def test_whether_sessions_are_their_owners_is_for_the_configuration_of_pods_to_say(
    settings: list[str], holds: Holds, why: str | None
) -> None:
    config = load(None, environ={}, overrides=settings).config
    (promise,) = [promise for promise in judge([], config) if promise.name == "P9"]
    assert promise.holds is holds
    assert promise.why is None if why is None else why in str(promise.why)


@pytest.mark.usefixtures("made")
async def test_text_says_what_json_says(chatmesh: Start, broker: Broker) -> None:
    code, process = await finished(chatmesh, "doctor", "--set", f"nats.servers={broker.url}")
    assert code == 0
    assert f"ok        {QUEUE}: as declared" in process.stdout
    assert "unknown   sync_interval:" in process.stdout
    assert "yes, but  P1 accepted means durable:" in process.stdout
    assert process.stdout.endswith("Nothing failed.\n")
    assert "\x1b" not in process.stdout


async def test_looking_leaves_nothing_behind_and_disturbs_nobody(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, "default_model=echo") as mesh,
        client_of(mesh) as client,
        events(client, "s") as stream,  # one who leaves is taken off the registry ten seconds later
    ):
        await post(client, "s", "one two")
        await stream.read_finals(1)
        lost = ("chatmesh_errors_total{", "chatmesh_dropped_total{")

        async def state() -> list[Any]:
            streams = [(await api(nats_client, f"STREAM.INFO.{name}"))["state"] for name in NAMES]
            kept = [
                state["last_seq"]
                for name, state in zip(NAMES, streams, strict=True)
                if "PRESENCE" not in name
            ]
            metrics = (await client.get("/metrics")).text.splitlines()
            return [*kept, *(line for line in metrics if line.startswith(lost))]

        before = await state()
        found = await examined(chatmesh, broker.url)
        assert found.code == 0
        assert await state() == before


async def test_broker_that_is_away_is_exit_3_and_the_rest_is_told_as_not_checked(chatmesh: Start) -> None:
    found = await examined(chatmesh, f"nats://127.0.0.1:{free_port()}", "nats.connect_seconds=1")
    assert found.code == 3
    assert found.in_state("fail") == ["broker"]
    assert "no NATS server answered" in found.findings["broker"]["found"]
    assert found.holding("yes") == ["P8", "P10"]
    assert found.promises["P1"] == {
        "name": "P1",
        "text": "accepted means durable",
        "holds": "no",
        "why": "see broker",
        "change": None,
    }


async def test_wrong_password_is_exit_4(chatmesh: Start, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, user="ann", password="right")
    try:
        found = await examined(chatmesh, broker.url, "nats.user=ann", "nats.password=wrong")
    finally:
        broker.stop()
    assert found.code == 4
    assert "does not accept our credentials" in found.findings["broker"]["found"]


async def test_broker_without_jetstream_is_exit_3(chatmesh: Start, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, jetstream=False)
    try:
        found = await examined(chatmesh, broker.url)
    finally:
        broker.stop()
    assert found.code == 3
    assert found.in_state("fail") == ["jetstream"]
    assert found.findings["jetstream"]["found"] == "the server runs without it"
    assert found.findings["broker"]["state"] == "ok"
    assert found.findings["streams"]["found"] == "not checked: there is no JetStream"
    assert found.promises["P1"]["why"] == "see jetstream"


async def test_account_without_jetstream_is_told(chatmesh: Start, tmp_path: Path) -> None:
    accounts = "accounts { A: { users: [{ user: ann, password: x }] }, B: { jetstream: enabled } }\n"
    broker = await Broker.start(tmp_path, config_extra=accounts)
    try:
        found = await examined(chatmesh, broker.url, "nats.user=ann", "nats.password=x")
    finally:
        broker.stop()
    assert found.code == 3
    assert found.in_state("fail") == ["jetstream"]
    assert "does not answer this account" in found.findings["jetstream"]["found"]


async def test_broker_without_streams_names_each_and_what_makes_it(chatmesh: Start, broker: Broker) -> None:
    found = await examined(chatmesh, broker.url)
    assert found.code == 1
    assert found.in_state("fail") == [*(f"stream {name}" for name in NAMES), CONSUMER]
    assert "streams ensure --apply" in found.findings[QUEUE]["mend"]
    assert set(found.holding("no")) == {*(f"P{number}" for number in range(1, 8)), "P9"}


@pytest.mark.usefixtures("made")
async def test_wrong_consumer_fails_and_takes_the_promises_about_turns_with_it(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await api(nats_client, "CONSUMER.DELETE.WORKFLOW_REQUESTS.workflow-processor")
    config = {"durable_name": "workflow-processor", "ack_policy": "explicit", "max_deliver": 3}
    body = {"stream_name": "WORKFLOW_REQUESTS", "config": config, "action": "create"}
    await api(nats_client, "CONSUMER.CREATE.WORKFLOW_REQUESTS.workflow-processor", body)
    found = await examined(chatmesh, broker.url)
    assert found.code == 1
    assert found.in_state("fail") == [CONSUMER]
    assert "max_deliver is 3, declared -1" in found.findings[CONSUMER]["found"]
    assert set(found.holding("no")) == {"P2", "P5", "P6", "P9"}


@pytest.mark.usefixtures("made")
async def test_harmless_difference_is_a_warning_and_no_failure(
    chatmesh: Start, broker: Broker, nats_client: Client
) -> None:
    await update_stream(nats_client, "WORKFLOW_REQUESTS", discard="old")
    found = await examined(chatmesh, broker.url)
    assert found.code == 0
    assert found.in_state("warn") == [QUEUE]


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(("used", "state"), [(70, "ok"), (85, "warn"), (97, "fail")])
async def test_stream_that_fills_up_is_told_before_it_is_full(
    chatmesh: Start, broker: Broker, nats_client: Client, used: int, state: str
) -> None:
    size = "streams.transcript_max_bytes=1048576"
    await update_stream(nats_client, "CHAT_TRANSCRIPT", max_bytes=1_048_576)
    js = nats_client.jetstream()
    for _ in range(10):
        await js.publish("chat.session.s.transcript.m", bytes(1_048_576 * used // 1000 - 60))
    found = await examined(chatmesh, broker.url, size)
    finding = found.findings["storage of CHAT_TRANSCRIPT"]
    assert finding["state"] == state
    assert f"({used}%)" in finding["found"]
    assert found.code == (state == "fail")
    if state == "fail":
        assert found.promises["P2"]["why"] == "see storage of CHAT_TRANSCRIPT"


async def test_account_that_fills_up_is_told(chatmesh: Start, tmp_path: Path) -> None:
    limits = "jetstream: { max_mem: 1MB, max_file: 1MB }, users: [{ user: ann, password: x }]"
    broker = await Broker.start(tmp_path, config_extra=f"accounts {{ A: {{ {limits} }} }}\n")
    client = await broker.connect(user="ann", password="x")
    try:
        await api(client, "STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["other"]})
        for _ in range(9):
            await client.jetstream().publish("other", bytes(100_000))
        found = await examined(chatmesh, broker.url, "nats.user=ann", "nats.password=x")
    finally:
        await client.close()
        broker.stop()
    assert found.findings["storage of the account"]["state"] == "warn"


@pytest.mark.usefixtures("made")
async def test_three_replicas_on_one_server_are_told(chatmesh: Start, broker: Broker) -> None:
    found = await examined(chatmesh, broker.url, "streams.replicas=3")
    assert found.code == 1
    assert found.in_state("fail") == [*(f"stream {name}" for name in NAMES), "replicas"]
    assert "the server stands alone" in found.findings["replicas"]["found"]


@pytest.mark.slow
async def test_copies_of_a_cluster_are_current_until_a_server_is_gone(
    chatmesh: Start, cluster: Cluster
) -> None:
    servers = json.dumps(cluster.urls)
    settings = (f"nats.servers={servers}", "streams.replicas=3")
    given = [part for setting in settings for part in ("--set", setting)]
    code, process = await finished(chatmesh, "streams", "ensure", "--apply", *given)
    assert code == 0, process.report()
    client = await cluster.connect()
    await wait_replicated(client, *NAMES)
    await client.close()
    found = Diagnosis(*await finished(chatmesh, "doctor", "--json", *given))
    assert found.findings["replicas"]["found"] == "3 copies of each stream, all current"
    assert "one server" in found.promises["P1"]["why"]
    gone = cluster.brokers[2]
    gone.kill()

    async def is_told() -> bool:
        found = Diagnosis(*await finished(chatmesh, "doctor", "--json", *given))
        assert found.code
        return gone.name in found.findings["replicas"]["found"]

    await eventually(is_told, timeout=60)


@asynccontextmanager
async def limited(
    tmp_path: Path, start: Start, publish: Sequence[str], subscribe: Sequence[str]
) -> AsyncIterator[str]:
    """A broker with its streams, and the user `ann` who may do only that."""
    permissions = {"publish": {"allow": list(publish)}, "subscribe": {"allow": list(subscribe)}}
    users = [
        {"user": "deploy", "password": "x"},
        {"user": "ann", "password": "x", "permissions": permissions},
    ]
    broker = await Broker.start(tmp_path, config_extra=f"authorization {json.dumps({'users': users})}\n")
    try:
        login = ("--set", "nats.user=deploy", "--set", "nats.password=x")
        code, process = await ensure(start, broker.url, "--apply", *login)
        assert code == 0, process.report()
        yield broker.url
    finally:
        broker.stop()


ANN = ("nats.user=ann", "nats.password=x", "id=p1")


def given_to(needs: Needs) -> tuple[list[str], list[str]]:
    publish, subscribe = (
        [entry.replace("{id}", "p1") for entry in kind] for kind in (needs.publish, needs.subscribe)
    )
    return publish, subscribe


async def test_pod_and_worker_with_all_they_need_lack_nothing(chatmesh: Start, tmp_path: Path) -> None:
    async with limited(tmp_path, chatmesh, *given_to(POD + WORKER)) as url:
        found = await examined(chatmesh, url, *ANN)
    assert found.code == 0
    assert found.in_state("fail") == []
    assert found.in_state("unknown") == ["sync_interval"]


async def test_each_permission_that_is_missing_is_named(chatmesh: Start, tmp_path: Path) -> None:
    publish, subscribe = given_to(POD + WORKER + LOOKING)
    lacking = {"chat.session.*.claim", "chat.workflow.execute.*", "$JS.API.DIRECT.GET.*"}
    async with limited(
        tmp_path,
        chatmesh,
        [entry for entry in publish if entry not in lacking],
        [entry for entry in subscribe if entry != "chat.session.*.broadcast"],
    ) as url:
        found = await examined(chatmesh, url, *ANN)
    assert found.code == 1
    assert found.in_state("fail") == ["permissions of a pod", "permissions of a worker"]
    pod, worker = (found.findings[f"permissions of a {role}"]["found"] for role in ("pod", "worker"))
    assert pod == (
        "this user may not publish $JS.API.DIRECT.GET.*, publish chat.workflow.execute.*, "
        "subscribe chat.session.*.broadcast"
    )
    assert worker == "this user may not publish $JS.API.DIRECT.GET.*, publish chat.session.*.claim"
    assert found.promises["P1"]["why"] == "see permissions of a pod"
    assert found.promises["P2"]["why"] == "see permissions of a worker"


async def test_user_who_may_not_look_is_told_what_could_not_be_checked(
    chatmesh: Start, tmp_path: Path
) -> None:
    async with limited(tmp_path, chatmesh, ["nothing"], ["_INBOX.p1.>"]) as url:
        found = await examined(chatmesh, url, *ANN)
    assert found.code == 1
    assert "$JS.API.STREAM.INFO.*" in found.findings["streams"]["found"]
    assert {"jetstream", "streams", "clock"} <= set(found.in_state("unknown"))


async def test_user_who_hears_no_replies_is_not_authorised(chatmesh: Start, tmp_path: Path) -> None:
    async with limited(tmp_path, chatmesh, [">"], ["_INBOX.other.>"]) as url:
        found = await examined(chatmesh, url, *ANN)
    assert found.code == 4
    assert "may not subscribe to _INBOX.p1.>" in found.findings["broker"]["found"]


async def test_small_max_payload_is_a_warning(chatmesh: Start, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, config_extra="max_payload: 65536\n")
    try:
        found = await examined(chatmesh, broker.url)
    finally:
        broker.stop()
    assert found.findings["max_payload"]["state"] == "warn"
    assert "larger requests get 413" in found.findings["max_payload"]["found"]


# --- what no test can make a real server do ------------------------------------------------------------------------


def config(*overrides: str) -> Config:
    return load(None, environ={}, overrides=list(overrides)).config


FACTS = Facts(
    "127.0.0.1:4222",
    "p1",
    {"version": "2.15.1", "max_payload": 1_048_576},
    0.001,
    {},
    has_jetstream=True,
    ahead_seconds=0.0,
)


def one(facts: Facts, name: str) -> Finding:
    return next(finding for finding in check(facts, config()) if finding.check == name)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("2.14.3", State.OK),
        ("2.14.2", State.FAIL),
        ("2.9.25", State.FAIL),
        ("3.0.0", State.OK),
        ("2.15.0-RC.1", State.OK),
        ("dev", State.FAIL),
    ],
)
def test_server_that_is_too_old_fails(version: str, state: State) -> None:
    assert one(replace(FACTS, server={"version": version}), "broker").state is state


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (0.5, State.OK),
        (-0.5, State.OK),
        (2, State.WARN),
        (-2, State.WARN),
        (15, State.FAIL),
        (-60, State.FAIL),
    ],
)
def test_clock_that_is_off_is_told(seconds: float, state: State) -> None:
    assert one(replace(FACTS, ahead_seconds=seconds), "clock").state is state


def test_streams_without_a_leader_are_told() -> None:
    facts = replace(FACTS, account={}, problem=JetStreamMissingError("JetStream does not answer"))
    assert one(facts, "streams").state is State.FAIL
    assert "majority" in str(one(facts, "streams").mend)
    assert judge(check(facts, config()), config())[0].why == "see streams"


def test_slow_broker_is_a_warning() -> None:
    assert one(replace(FACTS, round_trip_seconds=0.2), "round trip").state is State.WARN


def test_everything_that_can_be_said_without_a_broker_is_said() -> None:
    found = doctor.without_broker(BrokerUnreachableError("away", where="there", mend="start it"), config())
    assert found.findings[0] == Finding("broker", State.FAIL, "away, at there", "start it")
    assert {promise.holds for promise in found.promises[:7]} == {Holds.NO}
