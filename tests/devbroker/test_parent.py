"""The server's life hangs on its parent's, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatmesh.devbroker import EmbeddedServer, leash

_PARENT = """
import asyncio, sys
from pathlib import Path
from chatmesh.devbroker import EmbeddedServer, leash

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def parent(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with an embedded server, whose pid it prints."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    command = [sys.executable, "-c", _PARENT, str(data_dir), request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        process.kill()


def is_gone(pid: int) -> bool:
    """True for a pid that nobody has, and for a dead one that its new parent has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child's life to its parent's")
async def test_server_dies_with_a_killed_parent_and_the_next_one_starts_at_once(
    parent: subprocess.Popen[str], server: EmbeddedServer
) -> None:
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not is_gone(pid)
    parent.kill()
    await server.start()
    assert is_gone(pid)
    assert server.is_running


async def test_second_process_is_told_who_has_the_directory(
    parent: subprocess.Popen[str], server: EmbeddedServer
) -> None:
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    with pytest.raises(
        Exception, match=rf"in use by process {parent.pid} \(its nats-server is process {pid}\)"
    ):
        await server.start()
    assert not is_gone(pid)


async def test_server_does_not_get_the_terminals_interrupt(server: EmbeddedServer) -> None:
    await server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid


def test_leash_executes_nothing_once_its_parent_is_gone(
    tmp_path: Path, fake_server: Callable[[str], Path]
) -> None:
    program = fake_server(f"touch {tmp_path}/executed")
    somebody_else = os.getppid()
    run = subprocess.run(
        [sys.executable, "-I", "-S", leash.__file__, str(somebody_else), program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "the process that started this one is gone" in run.stderr
    assert not (tmp_path / "executed").exists()
