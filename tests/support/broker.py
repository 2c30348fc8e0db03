"""A real nats-server for one test, which the test may break."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from nats.aio.client import Client

from chatmesh.devbroker import find_server
from chatmesh.devbroker.greeting import read_server_name
from tests.support.children import Child
from tests.support.ports import free_port
from tests.support.raw_client import connect
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Login:
    """How clients say who they are: a token, or user and password, or nothing at all."""

    token: str | None = None
    user: str | None = None
    password: str | None = None

    @cached_property
    def options(self) -> dict[str, str]:
        """Keyword arguments for `nats.connect`."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def render(self) -> str:
        """The server's side of it."""
        return f"authorization {json.dumps(self.options)}\n" if self.options else ""


class Broker:
    """A nats-server on a port of its own, with its store in the test's directory. It starts in about 30 ms.

    Its end is the test's: use the fixture `broker`, or call `stop()` in a `finally`.
    """

    is_silent = False
    """It greets nobody before a handshake, so its own word for being up is taken."""

    def __init__(self, directory: Path, port: int, config: str, login: Login, config_extra: str = "") -> None:
        self.port = port
        self.name = f"test-{port}-{os.getpid()}"
        self.login = login
        self.log_file = directory / f"nats-{port}.log"
        self.config_file = directory / f"nats-{port}.conf"
        head = f'server_name: "{self.name}"\nhost: 127.0.0.1\nport: {port}\n'
        self._config = head + login.render() + config
        self.config_file.write_text(self._config + config_extra)
        self._child: Child | None = None

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        config_extra: str = "",
        jetstream: bool = True,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        store_directory: Path | None = None,
    ) -> Self:
        """A fresh, empty server that answers. `config_extra` is added to its configuration file as it stands;
        `store_directory` is where its store lies, if not in `directory`."""
        port = free_port()
        store = jetstream_block((store_directory or directory) / f"nats-{port}") if jetstream else ""
        broker = cls(directory, port, store, Login(token, user, password), config_extra)
        broker.is_silent = "handshake_first: true" in config_extra
        await broker.launch()
        return broker

    @property
    def url(self) -> str:
        """Where to connect; no credentials in it."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """True while the process lives, paused or not."""
        return self._child is not None and self._child.is_running

    def log(self) -> str:
        """Everything that the server has logged, over restarts."""
        return self.log_file.read_text(errors="replace")

    async def connect(self, **options: Any) -> Client:
        """A raw nats-py client, which the caller closes."""
        return await connect(self.url, **{**self.login.options, "connect_timeout": 5, **options})

    async def launch(self) -> None:
        """Start the process on the port and store of before, and return when it answers."""
        assert not self.is_running
        command: list[str | Path] = [find_server(), "-c", self.config_file]
        self._child = Child(command, stdout=self.log_file, stderr=self.log_file)
        try:
            await eventually(self._answers, message=f"an answer of {self.name}")
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """SIGKILL: the operating system closes its connections, nothing is flushed. It is gone on return."""
        self._running().kill()

    async def terminate(self) -> None:
        """SIGTERM: an orderly end. It is gone on return."""
        await self._running().terminate()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running().pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._running().resume()

    async def restart(self) -> None:
        """End it in an orderly way unless it is gone already, then start it again on the same port and store."""
        if self.is_running:
            self.resume()
            await self.terminate()
        await self.launch()

    async def reload(self, config_extra: str) -> None:
        """Other `config_extra` from now on; clients stay connected."""
        seen = self.log().count("Reloaded server configuration")
        self.config_file.write_text(self._config + config_extra)
        self._running().signal(signal.SIGHUP)
        await eventually(lambda: self.log().count("Reloaded server configuration") > seen)

    def stop(self) -> None:
        """End and reap it by force, in whatever state it is. Idempotent."""
        if self._child is not None:
            self._child.kill()

    async def _answers(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"nats-server ended at start:\n{self.log()[-4000:]}")
        if self.is_silent:
            return "Server is ready" in self.log()
        return await read_server_name(self.port, timeout_seconds=1.0) == self.name

    def _running(self) -> Child:
        assert self._child is not None
        assert self._child.is_running, f"{self.name} does not run"
        return self._child


def jetstream_block(store: Path) -> str:
    """JetStream with room for every limit that a test's streams may declare; only the sum of limits counts."""
    return f'jetstream {{ store_dir: "{store}", max_memory_store: 64MB, max_file_store: 256GB }}\n'
