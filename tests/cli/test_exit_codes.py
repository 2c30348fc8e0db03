"""What can't work ends at once, with the code that says what it was and a text that says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, RetentionPolicy

from chatmesh.cli.process import _explain
from chatmesh.errors import BrokerUnreachableError, Exit, PortInUseError
from chatmesh.kernel import RestartIntensityExceeded, StartFailed
from tests.cli.support import Chatmesh, Run, run_on_terminal
from tests.support.broker import Broker
from tests.support.processes import free_port

pytestmark = pytest.mark.slow

SECRET = "xyzzy-secret"


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


async def fails(run: Chatmesh, *arguments: str, env: dict[str, str] | None = None) -> Run:
    """A process, off the loop, that fails as it should."""
    result: Run = await asyncio.to_thread(partial(run, *arguments, env=env))
    assert_fails_well(result)
    return result


def assert_fails_well(result: Run) -> None:
    """Holds for every failure: it says what it is, nothing is on stdout, no traceback and no secret anywhere."""
    assert result.code != 0
    assert not result.stdout
    assert "Traceback" not in result.stderr
    assert any(line.startswith(("chatmesh: ", "chatmesh ", "usage: ")) for line in result.stderr.splitlines())
    assert SECRET not in result.text


def on(url: str, *settings: str, role: str = "all") -> list[str]:
    arguments = ["run", "--role", role, "--set", f"nats.servers={url}", "--set", "http.port=0"]
    return [*arguments, *(part for setting in settings for part in ("--set", setting))]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["run", "--role", "king"],
        ["dev", "--data", "x", "--ephemeral"],
        ["health"],
        ["dev", "--port", "x"],
    ],
)
def test_wrong_usage_is_2(call: Chatmesh, arguments: list[str]) -> None:
    result = call(*arguments)
    assert_fails_well(result)
    assert result.code == 2
    assert "usage: chatmesh" in result.stderr


def test_wrong_configuration_is_2_with_every_problem_at_once(call: Chatmesh, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(
        "roles: [pod]\nhttp:\n  prot: 8080\n  port: many\nworker: {concurency: 3}\nnats: {servers: ['nats://x:y@z']}\n"
    )
    for command in ("run", "check"):
        result = call(command, "-c", "wrong.yaml")
        assert_fails_well(result)
        assert result.code == 2
        for part in ("wrong.yaml", "prot", "port", "concurency", "servers"):
            assert part in result.stderr
        assert "did you mean `port`" in result.stderr
        assert "did you mean `concurrency`" in result.stderr
        for line in (3, 4, 5, 6):
            assert f"wrong.yaml:{line}:" in result.stderr
        assert "x:y" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (["--set", "http.prot=1"], {}, "http.prot"),
        (["--set", "http.port"], {}, "http.port"),
        (["-c", "absent.yaml"], {}, "absent.yaml"),
        ([], {"CHATMESH_CONFIG": "absent.yaml"}, "absent.yaml"),
        ([], {"CHATMESH_HTTP__PROT": "1"}, "CHATMESH_HTTP__PROT"),
        (["--id", "a.b"], {}, "a.b"),
        (["-c", "unset.yaml"], {}, "CHATMESH_TEST_UNSET"),
    ],
)
def test_whatever_is_wrong_in_the_settings_is_2_and_named(
    call: Chatmesh, tmp_path: Path, arguments: list[str], env: dict[str, str], says: str
) -> None:
    (tmp_path / "unset.yaml").write_text("nats: {token: '${CHATMESH_TEST_UNSET}'}\n")
    result = call("run", *arguments, env=env)
    assert_fails_well(result)
    assert result.code == 2
    assert says in result.stderr


async def test_broker_that_is_not_there_is_3_within_connect_seconds(run: Chatmesh) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    result = await fails(run, *on(url, "nats.connect_seconds=0.5"))
    assert result.code == 3
    assert url in result.stderr
    assert "within 0.5 s" in result.stderr
    assert "nats-server -js" in result.stderr


@pytest.mark.slow
async def test_port_that_accepts_and_says_nothing_is_3_too(run: Chatmesh) -> None:
    with taken_port() as port:
        result = await fails(run, *on(f"nats://127.0.0.1:{port}", "nats.connect_seconds=1"))
    assert result.code == 3


async def test_broker_without_jetstream_is_3(run: Chatmesh, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, jetstream=False)
    try:
        result = await fails(run, *on(broker.url))
    finally:
        broker.stop()
    assert result.code == 3
    assert "JetStream" in result.stderr
    assert "nats-server -js" in result.stderr


@pytest.mark.parametrize(
    ("login", "settings"),
    [
        ({"user": "ann", "password": "right"}, ["nats.user=ann", f"nats.password={SECRET}"]),
        pytest.param({"user": "ann", "password": "right"}, [], marks=pytest.mark.slow),
        pytest.param({"token": "right"}, [f"nats.token={SECRET}"], marks=pytest.mark.slow),
    ],
)
async def test_wrong_or_no_credentials_are_4(
    run: Chatmesh, tmp_path: Path, login: dict[str, Any], settings: list[str]
) -> None:
    broker = await Broker.start(tmp_path, **login)
    try:
        result = await fails(run, *on(broker.url, *settings))
    finally:
        broker.stop()
    assert result.code == 4
    assert broker.url in result.stderr
    assert "nats.password" in result.stderr


@pytest.mark.parametrize(
    "login", [{"user": "ann", "password": SECRET}, pytest.param({"token": SECRET}, marks=pytest.mark.slow)]
)
async def test_right_credentials_are_taken_and_never_shown(
    run: Chatmesh, tmp_path: Path, login: dict[str, Any]
) -> None:
    """They let us in: what fails is the port, and that is said without them, at the most talkative level."""
    broker = await Broker.start(tmp_path, **login)
    settings = [f"nats.{key}={value}" for key, value in login.items()]
    try:
        with taken_port() as port:
            result = await fails(run, *on(broker.url, *settings, "log.level=debug", f"http.port={port}"))
            shown = await asyncio.to_thread(
                run_on_terminal, tmp_path, *on(broker.url, *settings, "log.level=debug", f"http.port={port}")
            )
    finally:
        broker.stop()
    assert result.code == 5
    assert SECRET not in shown


async def test_port_in_use_is_5(run: Chatmesh, tmp_path: Path) -> None:
    with taken_port() as port:
        result = await fails(run, "dev", "--ephemeral", "--port", str(port))
        shown = await asyncio.to_thread(run_on_terminal, tmp_path, "dev", "--ephemeral", "--port", str(port))
    assert result.code == 5
    assert f"127.0.0.1:{port}" in result.stderr
    assert "http.port" in result.stderr
    assert "Traceback" not in shown


async def test_stream_that_is_configured_otherwise_is_2(
    run: Chatmesh, broker: Broker, nats_client: Client
) -> None:
    await nats_client.jetstream().add_stream(
        name="WORKFLOW_REQUESTS", subjects=["chat.workflow.execute.*"], retention=RetentionPolicy.LIMITS
    )
    result = await fails(run, *on(broker.url))
    assert result.code == 2
    for part in ("WORKFLOW_REQUESTS", "retention", "limits", "workqueue"):
        assert part in result.stderr


async def test_push_consumer_of_the_same_name_is_2(
    run: Chatmesh, broker: Broker, nats_client: Client
) -> None:
    js = nats_client.jetstream()
    await js.add_stream(
        name="WORKFLOW_REQUESTS",
        subjects=["chat.workflow.execute.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        max_age=24 * 3600,
    )
    push = ConsumerConfig(durable_name="workflow-processor", deliver_subject="elsewhere")
    await js.add_consumer("WORKFLOW_REQUESTS", push)
    result = await fails(run, *on(broker.url))
    assert result.code == 2
    assert "WORKFLOW_REQUESTS/workflow-processor" in result.stderr
    assert "push" in result.stderr


@pytest.mark.slow
async def test_stream_of_the_seeds_own_code_is_taken_over_as_it_is(
    run: Chatmesh, broker: Broker, nats_client: Client
) -> None:
    """It lacks our limits, which take nothing from it: what fails is only the port."""
    js = nats_client.jetstream()
    await js.add_stream(
        name="WORKFLOW_REQUESTS",
        subjects=["chat.workflow.execute.*"],
        retention=RetentionPolicy.WORK_QUEUE,
        max_age=24 * 3600,
    )
    await js.publish("chat.workflow.execute.s", b"kept")
    with taken_port() as port:
        result = await fails(run, *on(broker.url, f"http.port={port}", role="pod"))
    assert result.code == 5
    assert (await js.stream_info("WORKFLOW_REQUESTS")).state.messages == 1


async def test_data_directory_that_can_not_be_used_is_2(run: Chatmesh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    result = await fails(run, "dev", "--port", "0", "--data", "file")
    assert result.code == 2
    assert str(tmp_path / "file") in result.stderr


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nowhere.at_all:answer", "No module named 'nowhere'"),
        ("model:nobody", "has no attribute 'nobody'"),
        ("model:plain", "is no async generator"),
        ("model:broken", "can't be imported"),
    ],
)
async def test_model_whose_function_can_not_be_used_is_2_and_named(
    run: Chatmesh, broker: Broker, tmp_path: Path, function: str, said: str
) -> None:
    (tmp_path / "model.py").write_text("async def plain(prompt, resume): ...\n")
    setting = f"models={{mine: {{provider: python, function: '{function}'}}}}"
    result = await fails(run, *on(broker.url, setting))
    assert result.code == 2
    assert "models.mine.function" in result.stderr
    assert said in result.stderr


def _failure(kind: type[StartFailed] | type[RestartIntensityExceeded], cause: Exception) -> Any:
    failure = kind("the tree says", path="root", child_path="root/broker")
    failure.__cause__ = cause
    return failure


def test_failure_after_the_start_is_giving_up_whatever_it_was() -> None:
    """A port that is lost later is no usage error: the process ran, and could not be kept running."""
    for cause in (BrokerUnreachableError("away"), PortInUseError("taken"), ValueError("a bug")):
        explained = _explain(_failure(RestartIntensityExceeded, cause))
        assert explained.exit_code == Exit.GAVE_UP
        assert "root/broker" in str(explained)
        assert str(cause) in str(explained)


def test_failure_at_the_start_keeps_its_own_code() -> None:
    nested = _failure(StartFailed, _failure(StartFailed, PortInUseError("taken")))
    assert _explain(nested).exit_code == Exit.PORT_IN_USE
    late = _failure(StartFailed, _failure(RestartIntensityExceeded, PortInUseError("taken")))
    assert _explain(late).exit_code == Exit.GAVE_UP


def test_bug_at_the_start_is_giving_up() -> None:
    explained = _explain(_failure(StartFailed, ValueError("a bug")))
    assert explained.exit_code == Exit.GAVE_UP
    assert "report it" in str(explained)
