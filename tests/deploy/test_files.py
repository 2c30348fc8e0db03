"""What ships in deploy/ refers to files that there are, and says what the programs take. Images are not built here."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatmesh.config import load
from chatmesh.devbroker.executable import find_server

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return found


def test_every_file_that_compose_mounts_is_there() -> None:
    mounts = [each for service in services().values() for each in service.get("volumes", [])]
    assert len(mounts) >= 11
    for mount in mounts:
        assert (COMPOSE / mount.partition(":")[0]).exists(), mount


@pytest.mark.parametrize("role", ["pod", "worker"])
def test_configurations_of_compose_are_valid_and_say_what_their_names_do(role: str) -> None:
    config = load(COMPOSE / f"{role}.yaml", environ={}, overrides=[]).config
    assert config.roles == (role,)
    assert config.serves_http, "the image's health check asks there"
    assert config.http.port == 8080
    assert [name for name in services() if name.startswith(role)] == [f"{role}-1", f"{role}-2"]
    for server in config.nats.servers:
        assert re.fullmatch(r"nats://(nats-\d):4222", server)
        assert server[7:13] in services()


def test_services_start_commands_that_there_are() -> None:
    for name, service in services().items():
        if service.get("image") == "chatmesh":
            assert service["command"] == ["run", "-c", "/etc/chatmesh.yaml", "--id", name]


def test_nats_server_takes_its_configuration() -> None:
    server = find_server()
    done = subprocess.run(
        [server, "-t", "-c", str(COMPOSE / "nats.conf"), "--name", "nats-1"],
        capture_output=True,
        timeout=30,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_copies_what_there_is_and_is_not_root() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    copied = [
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in shlex.split(line)[1:-1]
    ]
    assert len(copied) >= 6
    for name in copied:
        assert (ROOT / name).exists(), name
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert any(line.startswith("HEALTHCHECK") for line in lines)
