"""The embedded server's life: start, know that it is ours, wait for its end, stop.

In: a data directory. Out: `url` and `token` to connect with. It does not restart by itself: `wait()` returns when the
process ended, and `start()` then brings it back on the same port with the same token, so that clients reconnect.

The server is a child in a session of its own, so that the terminal's Ctrl-C reaches us only and the drain can still
talk to it; on Linux it is killed when we die, however we die (see leash.py).
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from chatmesh.devbroker.configuration import ServerConfiguration, check_token
from chatmesh.devbroker.directory import prepare_directory, write_private
from chatmesh.devbroker.executable import check_executable, find_server
from chatmesh.devbroker.lock import DirectoryLock
from chatmesh.devbroker.log import ServerLog
from chatmesh.devbroker.ports import free_port
from chatmesh.devbroker.process import end, spawn, wait_until_ours_answers
from chatmesh.errors import PortInUseError

# A random port may be taken between choosing it and the server's listen; five times in a row it is something else.
_PORT_TRIES = 5


class EmbeddedServer:
    """One nats-server with JetStream for one data directory, which no other process may use meanwhile.

    Call `start()` from a thread that lives as long as the server shall: its end takes the server along.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        token: str | None = None,
        sync_always: bool = False,
        executable: Path | None = None,
        max_payload_bytes: int = 1024 * 1024,
        max_store_bytes: int = 10 * 1024**3,
        start_timeout_seconds: float = 30.0,
    ) -> None:
        """`port` 0 and no `token` mean random ones. A store of 500,000 messages is recovered in about 0.5 s."""
        self._data_dir = data_dir.absolute()
        self._token = secrets.token_urlsafe(32) if token is None else check_token(token)
        self._port = port
        self._port_is_chosen = port == 0
        self._sync_always = sync_always
        self._executable = executable
        self._max_payload_bytes = max_payload_bytes
        self._max_store_bytes = max_store_bytes
        self._start_timeout_seconds = start_timeout_seconds
        self._lock = DirectoryLock(self._data_dir / "lock")
        self._log = ServerLog(self._data_dir / "nats-server.log")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where to connect; holds no credentials. Final once the first `start()` has returned."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The TCP port. It stays the same over every later start of this object."""
        if self._port == 0:
            raise RuntimeError("a random port is known only after start()")
        return self._port

    @property
    def token(self) -> str:
        """The secret that a client has to give."""
        return self._token

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it does not run."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def log_file(self) -> Path:
        """The server's log; appended to over runs, rotated by the server at 10 MB."""
        return self._log.path

    def last_log_lines(self, count: int = 20) -> list[str]:
        """The last lines of the server's current run, or of the one that just ended."""
        return self._log.last_lines(count)

    async def start(self) -> None:
        """Start the server and return when it answers; after a crash or a stop, on the same port with the same token.

        Raises `ConfigError` (data directory), `PortInUseError`, `BrokerUnreachableError` (no answer in time) or
        `BrokerError` (binary missing or too old, directory in use, server died); then nothing is left running.
        """
        if self.is_running:
            raise RuntimeError("the embedded server runs already")
        executable = self._executable or find_server()
        await check_executable(executable)
        prepare_directory(self._data_dir)
        await self._lock.acquire()
        try:
            await self._start_on_some_port(executable)
        except BaseException:
            await end(self._process, 0.0)
            self._lock.release()
            raise

    async def wait(self) -> int:
        """Return the exit code when the process ends, for whatever reason; minus the signal's number if one killed it."""
        if self._process is None:
            raise RuntimeError("the embedded server was never started")
        return await self._process.wait()

    async def stop(self, timeout_seconds: float = 5.0) -> None:
        """End the server, by force after `timeout_seconds`, and free the data directory. Idempotent."""
        try:
            await end(self._process, timeout_seconds)
        finally:
            self._lock.release()

    async def _start_on_some_port(self, executable: Path) -> None:
        tries = _PORT_TRIES if self._port_is_chosen and self._port == 0 else 1
        for left in reversed(range(tries)):
            port = self._port or free_port()
            try:
                await self._launch(executable, port)
            except PortInUseError:
                if left == 0:
                    raise
            else:
                self._port = port
                return

    async def _launch(self, executable: Path, port: int) -> None:
        name = f"chatmesh-dev-{secrets.token_hex(8)}"
        config_file = self._data_dir / "nats-server.conf"
        write_private(config_file, self._configuration(name, port).render())
        stderr = self._log.open_for_run()
        try:
            self._process = await spawn(executable, config_file, stderr=stderr, keep_open=self._lock.fileno())
        finally:
            os.close(stderr)
        self._lock.name_server(self._process.pid)
        await wait_until_ours_answers(
            self._process, name, port, self._log, timeout_seconds=self._start_timeout_seconds
        )

    def _configuration(self, name: str, port: int) -> ServerConfiguration:
        return ServerConfiguration(
            server_name=name,
            port=port,
            token=self._token,
            data_dir=self._data_dir,
            log_file=self._log.path,
            sync_always=self._sync_always,
            max_payload_bytes=self._max_payload_bytes,
            max_store_bytes=self._max_store_bytes,
        )
