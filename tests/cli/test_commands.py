"""The commands that look and don't stay: help, version, check, config, health."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh import __version__
from chatmesh.app import Mesh
from tests.cli.support import Chatmesh
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.processes import free_port

SECRET = "xyzzy-secret"


def test_help_has_examples_and_exit_codes(run: Chatmesh) -> None:
    result = run("--help")
    assert result.code == 0
    for part in ("chatmesh dev", "chatmesh run --role pod", "exit codes:", "70"):
        assert part in result.stdout
    assert not result.stderr


@pytest.mark.parametrize("command", ["dev", "run", "chat", "send", "check", "config", "health", "version"])
def test_every_command_has_help(call: Chatmesh, command: str) -> None:
    result = call(command, "--help")
    assert result.code == 0
    assert f"usage: chatmesh {command}" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    """`chatmesh --help` is as quick as Python itself."""
    code = (
        "import sys; from chatmesh.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('aiohttp', 'httpx', 'nats', 'pydantic', 'rich', 'yaml', 'structlog') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_version_is_the_distributions(run: Chatmesh) -> None:
    assert run("version").stdout == f"chatmesh {__version__}\n"


def test_output_into_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m chatmesh config reference | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_check_of_a_good_configuration_is_0(call: Chatmesh, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("roles: [worker]\nnats: {servers: [nats://a:1, nats://b:2]}\n")
    result = call("check", "-c", "good.yaml")
    assert (result.code, result.stderr) == (0, "")
    assert "worker" in result.stdout
    assert "nats://a:1, nats://b:2" in result.stdout


def test_what_chat_and_send_read_of_the_environment_is_no_unknown_key(call: Chatmesh) -> None:
    assert call("check", env={"CHATMESH_URL": "http://127.0.0.1:1", "CHATMESH_TOKEN": SECRET}).code == 0


def test_check_needs_no_broker_and_no_file(call: Chatmesh) -> None:
    assert call("check").code == 0


def test_configuration_of_the_environment_is_used_unless_another_is_named(
    call: Chatmesh, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text("id: of-environment\n")
    (tmp_path / "b.yaml").write_text("id: of-command-line\n")
    env = {"CHATMESH_CONFIG": "a.yaml"}
    assert "of-environment" in call("config", "show", env=env).stdout
    assert "of-command-line" in call("config", "show", "-c", "b.yaml", env=env).stdout


def test_config_show_names_origins_and_masks_secrets(call: Chatmesh, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("nats:\n  user: ann\n  password: ${PASSWORD}\n")
    env = {"PASSWORD": SECRET, "CHATMESH_HTTP__PORT": "81"}
    result = call("config", "show", "-c", "mesh.yaml", "--set", "log.level=debug", env=env)
    assert result.code == 0
    assert SECRET not in result.text
    assert "***" in result.stdout
    for part in ("mesh.yaml", "CHATMESH_HTTP__PORT", "--set"):
        assert part in result.stdout
    assert re.search(r"port: 81\b", result.stdout)


@pytest.mark.parametrize(
    "settings",
    [
        [f"nats.token={SECRET}"],
        [f"nats.password={SECRET}"],
        [f"nats.token={SECRET}", "http.port=x"],
        [f"nats.token={SECRET}", f"nats.user={SECRET}", f"nats.password={SECRET}"],
    ],
)
def test_secret_of_the_command_line_is_not_shown_in_any_error(call: Chatmesh, settings: list[str]) -> None:
    given = [part for setting in settings for part in ("--set", setting)]
    for command in (["check"], ["config", "show"], ["run", "--set", "nats.servers=nonsense"]):
        assert SECRET not in call(*command, *given).text.replace(f"user: {SECRET}", "")


def test_reference_is_a_configuration_that_check_accepts(call: Chatmesh, tmp_path: Path) -> None:
    reference = call("config", "reference")
    assert reference.code == 0
    (tmp_path / "reference.yaml").write_text(reference.stdout)
    assert call("check", "-c", "reference.yaml").code == 0


def test_schema_is_json_schema(call: Chatmesh) -> None:
    schema = json.loads(call("config", "schema").stdout)
    assert schema["type"] == "object"
    assert {"nats", "http", "worker"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.fixture
async def server(broker: Broker) -> str:
    return f"nats.servers={broker.url}"


async def test_health_of_a_pod(run: Chatmesh, broker: Broker, server: str) -> None:
    async with running(broker.url, role="pod", id="pod-1"):
        as_json = await asyncio.to_thread(partial(run, "health", "pod-1", "--json", "--set", server))
        for_people = await asyncio.to_thread(partial(run, "health", "pod-1", "--set", server))
    assert as_json.code == for_people.code == 0
    answer = json.loads(as_json.stdout)
    assert answer["pod_id"] == "pod-1"
    assert (answer["status"], answer["active_connections"]) == ("healthy", 0)
    assert answer["timestamp"]
    assert for_people.stdout.startswith("pod-1 is healthy")
    assert not as_json.stderr


@pytest.mark.slow
async def test_health_of_a_worker(run: Chatmesh, broker: Broker, server: str) -> None:
    async with running(broker.url, role="worker", id="w"):
        result = await asyncio.to_thread(partial(run, "health", "w", "--worker", "--json", "--set", server))
    assert result.code == 0
    assert json.loads(result.stdout)["active_generations"] == 0


@pytest.mark.slow
async def test_health_of_a_pod_that_leaves_is_1(run: Chatmesh, nats_client: Client, server: str) -> None:
    async def answer(message: object) -> None:
        body = {"pod_id": "p", "status": "draining", "active_connections": 1, "timestamp": "now"}
        await nats_client.publish(message.reply, json.dumps(body).encode())  # type: ignore[attr-defined]

    await nats_client.subscribe("chat.pod.p.health", cb=answer)
    await nats_client.flush()
    result = await asyncio.to_thread(partial(run, "health", "p", "--set", server))
    assert result.code == 1
    assert "draining" in result.stdout


async def test_health_of_nobody_is_1_and_says_so(run: Chatmesh, broker: Broker, server: str) -> None:
    result = await asyncio.to_thread(partial(run, "health", "nobody", "--json", "--set", server))
    assert result.code == 1
    assert not result.stdout
    assert "chat.pod.nobody.health" in result.stderr
    assert "Traceback" not in result.stderr


def test_health_without_a_broker_is_3(run: Chatmesh) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    result = run("health", "x", "--set", f"nats.servers={url}", "--set", "nats.connect_seconds=0.2")
    assert result.code == 3
    assert url in result.stderr


def test_health_of_an_id_that_is_none_is_2(call: Chatmesh) -> None:
    result = call("health", "a.*")
    assert result.code == 2
    assert "POD_ID" in result.stderr


@pytest.mark.slow
async def test_health_asks_with_the_credentials_of_the_configuration(run: Chatmesh, tmp_path: Path) -> None:
    broker = await Broker.start(tmp_path, token=SECRET)
    settings = ("--set", f"nats.servers={broker.url}", "--set", f"nats.token={SECRET}")
    try:
        async with running(broker.url, f"nats.token={SECRET}", role="pod", id="p") as mesh:
            assert isinstance(mesh, Mesh)
            result = await asyncio.to_thread(partial(run, "health", "p", *settings))
    finally:
        broker.stop()
    assert result.code == 0
    assert SECRET not in result.text
