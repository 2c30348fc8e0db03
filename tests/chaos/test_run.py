"""`chatmesh chaos` as people run it: it holds where the fence is on, is caught where it is off, and leaves nothing."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from chatmesh.cli import main
from tests.cli.support import is_alive
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 150.0
Start = Callable[..., Process]


async def run(start: Start, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], Process]:
    """The exit code, the JSON report, and the process for its output."""
    file = folder / "report.json"
    process = start("chaos", "--json", str(file), "--keep", str(folder / "kept"), *arguments)
    code = await process.wait(timeout=PATIENCE_SECONDS)
    return code, _report(file, process), process


def _report(file: Path, process: Process) -> dict[str, Any]:
    assert file.exists(), process.report()
    found: dict[str, Any] = json.loads(file.read_text())
    return found


async def test_a_worker_that_is_killed_costs_nobody_anything(chatmesh: Start, tmp_path: Path) -> None:
    small = ["--pods", "1", "--workers", "2", "--sessions", "4"]
    code, report, process = await run(
        chatmesh, tmp_path, "--seconds", "2", "--seed", "1", "--faults", "worker-kill", *small
    )
    assert (code, report["violations"]) == (0, []), process.stdout
    assert report["faults"]["worker-kill"] >= 1
    assert report["messages"]["accepted"] >= 4
    assert "Every promise held." in process.stdout


@pytest.mark.chaos
async def test_every_promise_holds_under_every_fault(chatmesh: Start, tmp_path: Path) -> None:
    code, report, process = await run(chatmesh, tmp_path, "--seconds", "30", "--sessions", "10")
    assert (code, report["violations"]) == (0, []), process.stdout
    assert len(report["faults"]) >= 6


@pytest.mark.chaos
async def test_every_promise_holds_on_three_servers(chatmesh: Start, tmp_path: Path) -> None:
    code, report, process = await run(
        chatmesh, tmp_path, "--seconds", "30", "--sessions", "10", "--servers", "3"
    )
    assert (code, report["violations"]) == (0, []), process.stdout


@pytest.mark.chaos
@pytest.mark.parametrize("seed", ["1", "2", "3"])
async def test_a_mesh_without_its_fence_is_caught(chatmesh: Start, tmp_path: Path, seed: str) -> None:
    """The check bites: workers that wake after they have lost their sessions write, and it is found in the transcript."""
    code, report, process = await run(
        chatmesh, tmp_path, "--unfenced", "--seconds", "20", "--seed", seed, "--sessions", "12"
    )
    assert code == 1, process.stdout
    assert report["fenced"] is False
    found = " ".join(each["detail"] for each in report["violations"] if each["kind"] == "transcript")
    assert "a worker wrote that had lost the session" in found
    assert "is used again" in found
    assert "offset" in found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_when_it_is_ended_in_the_midst(
    chatmesh: Start, tmp_path: Path, number: signal.Signals
) -> None:
    if number is signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux ends children with their parent")
    process = chatmesh("chaos", "--seconds", "60", "--sessions", "2", env={"TMPDIR": str(tmp_path)})
    await process.wait_for_line("^faults", stream="stderr")
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert len(children) >= 6
    process.signal(number)
    code = await process.wait(timeout=30)
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 1)
    await eventually(lambda: not any(map(is_alive, children)), message="the end of every child")
    if number is not signal.SIGKILL:
        assert not _left_in(tmp_path)


def _left_in(folder: Path) -> list[Path]:
    return list(folder.glob("chatmesh-chaos-*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--faults", "worker-kill,moon"], "moon"),
        (["--faults", ""], "worker-kill"),
        (["--seconds", "0"], "--seconds"),
        (["--pods", "0"], "--pods"),
        (["--servers", "2"], "--servers"),
        (["--unfenced", "--workers", "1"], "two workers"),
        (["--keep", "."], "not empty"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "something").touch()
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["chaos", *arguments])
    except SystemExit as end:  # argparse's way out
        code = int(end.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err
