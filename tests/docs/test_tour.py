"""The README's tour: every command is run as it stands, on other ports and with an answer that takes its time, and does what
the text says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from chatmesh.devbroker import find_server
from tests.docs.pages import page
from tests.support.processes import Process, free_port

README = page("README.md")
TOUR = README.blocks("sh tour")
TOUR_SECONDS = 180
"""It takes about thirty; a machine with two cores and much else to do has been seen to take twenty more."""

SURVIVOR, SLOWER = r'("max_tokens": 60, "tokens_per_second": )10\b', r"\g<1>3"
"""The answer whose worker is killed in its midst: the commands before may take a busy machine longer than six seconds."""

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and shutil.which("curl") is None, reason="needs curl: apt-get install curl"
)


@pytest.mark.slow
async def test_every_command_of_the_tour_runs_and_shows_what_is_said(
    chatmesh: Callable[..., Process], tmp_path: Path
) -> None:
    ports = {str(port): str(free_port()) for port in (8080, 8081, 8082, 4222)}
    dev = chatmesh("dev", "--ephemeral", "--port", ports["8080"])
    await dev.wait_for_line("chatmesh .*is running", stream="stdout")

    blocks = [re.sub(SURVIVOR, SLOWER, block) for block in TOUR]
    assert blocks != TOUR
    answered, resumed, stopped, _, survived = await run_blocks(blocks, ports, tmp_path)

    assert _texts(answered) == ["one ", "two ", "three ", "four", ""]
    assert _texts(resumed) == ["three ", "four", ""]
    assert '"status":"stopped","finish_reason":"cancelled"' in stopped
    counted = [f"{number} " for number in range(1, 61)]
    assert re.findall(r'"chunk":"([^"]*)"', survived) == [*counted, ""]
    answer = json.loads(re.findall(r"^\{.*\"content\".*\}$", survived, re.MULTILINE)[-1])
    assert answer["attempt"] == 2
    assert answer["content"] == "".join(counted)


def test_the_two_commands_come_first() -> None:
    makefile = (README.path.parent / "Makefile").read_text()
    first = README.blocks("sh")[0]
    assert re.findall(r"^make (\w+)", first, re.MULTILINE) == ["run", "test"]
    assert "\nrun:" in makefile
    assert "\ntest:" in makefile
    assert README.text.index("make run") < README.text.index("curl")


async def run_blocks(blocks: list[str], ports: dict[str, str], directory: Path) -> list[str]:
    """What each block printed, run one after the other in one shell that ends at the first failure."""
    mark = "---- end of block ----"
    script = f"\necho; echo '{mark}'\n".join(["set -euo pipefail", *blocks])
    for written, used in ports.items():
        script = re.sub(rf"(?<=[:= ]){written}\b", used, script)
    script = script.replace(".venv/bin/nats-server", str(find_server()))
    script = script.replace(".venv/bin/chatmesh", f"{sys.executable} -m chatmesh")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATMESH_")}
    errors = directory / "tour.stderr"
    with errors.open("wb") as stderr:
        # In a session of its own, so that nothing of it is left whatever happens.
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-c", script),
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(TOUR_SECONDS):
                output, _ = await shell.communicate()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            await shell.wait()
    text = output.decode()
    assert shell.returncode == 0, f"{text[-3000:]}\n{errors.read_text()[-3000:]}"
    return text.split(mark)[1:]


def _texts(printed: str) -> list[str]:
    return [json.loads(line[6:])["chunk"] for line in printed.splitlines() if line.startswith("data: ")]
