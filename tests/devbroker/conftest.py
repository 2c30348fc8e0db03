"""A data directory and a server that is always stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chatmesh.devbroker import EmbeddedServer


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where the server keeps its things; does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
async def make_server(data_dir: Path) -> AsyncIterator[Callable[..., EmbeddedServer]]:
    """Makes servers, not started, by default in `data_dir`; stops them all."""
    made: list[EmbeddedServer] = []

    def make(directory: Path = data_dir, **options: Any) -> EmbeddedServer:
        made.append(EmbeddedServer(directory, **options))
        return made[-1]

    yield make
    for server in made:
        await server.stop(0)


@pytest.fixture
def server(make_server: Callable[..., EmbeddedServer]) -> EmbeddedServer:
    """One server with nothing but defaults, not started."""
    return make_server()


@pytest.fixture
def fake_server(tmp_path: Path) -> Callable[[str], Path]:
    """Writes an executable that says it is nats-server 99.0.0, and otherwise does what the shell text says."""

    def write(script: str, *, version: str = "nats-server: v99.0.0") -> Path:
        path = tmp_path / "fake-nats-server"
        path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit 0; fi\n{script}\n')
        path.chmod(0o755)
        return path

    return write
