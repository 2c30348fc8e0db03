"""`chatmesh bench` as people run it: a result where all came, none where something was lost, and nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import pytest

from chatmesh.cli import main
from chatmesh.operate.bench import served
from tests.cli.support import StartProcess, is_alive
from tests.support.waiting import eventually

PATIENCE_SECONDS = 150.0
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
async def test_a_burst_is_measured_beside_the_floor(chatmesh: StartProcess, tmp_path: Path) -> None:
    saved, report = tmp_path / "saved.json", tmp_path / "report.html"
    process = chatmesh(
        *("bench", "burst", "--quick", "--rounds", "1", "--json"),
        *("--save", str(saved), "--report", str(report)),
        env={"TMPDIR": str(tmp_path)},
    )
    assert await process.wait(timeout=PATIENCE_SECONDS) == 0, process.report()
    found = json.loads(process.stdout)
    assert found["is_result"] is True
    assert [(run["side"], run["chunks"], run["faults"]) for run in found["runs"]] == [
        ("floor", 50_000, {}),
        ("mesh", 50_000, {}),
    ]
    assert set(found["runs"][1]["cpu"]) == {"broker", "pod", "worker"}
    assert all(seconds > 0 for run in found["runs"] for seconds in run["cpu"].values())
    assert all(0 < run["client_share"] <= 1.1 for run in found["runs"])
    rate = next(figure for figure in found["figures"] if figure["figure"] == "rate")
    assert rate["ratio"]["median"] == pytest.approx(
        rate["mesh"]["median"] / rate["floor"]["median"], rel=1e-3
    )
    assert json.loads(saved.read_text())["figures"] == found["figures"]
    assert "<svg" in report.read_text()
    assert not process.stderr, "nothing is drawn where nobody watches"
    assert not _left_in(tmp_path)


@pytest.mark.slow
def test_a_run_that_lost_a_chunk_is_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(served, "FLOOR", (sys.executable, "-m", "tests.bench.lossy"))
    assert main(["bench", "burst", "--rounds", "1", "--quick", "--keep", str(tmp_path / "lossy")]) == 1
    shown = capsys.readouterr().out
    assert "VOID round 1, burst, floor: 50 missing" in shown
    assert "No result: 1 of 2 runs are void." in shown


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_nothing_is_left_when_it_is_ended_in_the_midst(
    chatmesh: StartProcess, tmp_path: Path, number: signal.Signals
) -> None:
    process = chatmesh("bench", "stop", "--rounds", "3", env={"TMPDIR": str(tmp_path)})

    def children() -> list[int]:
        return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]

    await eventually(lambda: len(children()) >= 4, timeout=60, message="broker, pod, worker and client")
    running = children()
    process.signal(number)
    assert await process.wait(timeout=30) == 1
    await eventually(lambda: not any(map(is_alive, running)), message="the end of every child")
    assert not _left_in(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["takeover", "resume"])
async def test_a_fault_and_a_return_are_measured_and_nothing_is_lost(
    chatmesh: StartProcess, scenario: str
) -> None:
    quiet = ["--set", "log.level=error"]
    process = chatmesh("bench", scenario, "--quick", "--rounds", "1", "--json", *quiet)
    assert await process.wait(timeout=PATIENCE_SECONDS) == 0, process.report()
    found = json.loads(process.stdout)
    assert found["is_result"] is True
    assert {figure["scenario"] for figure in found["figures"]} == {scenario}


@pytest.mark.slow
async def test_a_soak_goes_on_for_as_long_as_is_asked_and_memory_is_watched(
    chatmesh: StartProcess, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    process = chatmesh(
        *("bench", "soak", "--quick", "--minutes", "0.3", "--processes", "2", "--layout", "free"),
        *("--json", "--report", str(report), "--set", "log.level=error"),
    )
    assert await process.wait(timeout=PATIENCE_SECONDS) == 0, process.report()
    found = json.loads(process.stdout)
    assert found["is_result"] is True
    (run,) = found["runs"]
    assert run["chunks"] > 1000
    assert {"pod_slope", "worker_slope", "broker_slope", "pod_blocks", "answers", "later"} <= set(
        run["figures"]
    )
    # Two pods behind one port and who keeps them: more than one Python process has.
    assert all(sample["pod"] > sample["worker"] > 1000 for sample in run["samples"])
    assert all(sample["pod, blocks"] > sample["worker, blocks"] > 10_000 for sample in run["samples"])
    assert report.read_text().count('class="line course') == 3


@pytest.mark.slow
async def test_a_pod_and_a_worker_are_looked_at_among_many_that_only_beat(chatmesh: StartProcess) -> None:
    process = chatmesh("bench", "crowd", "--quick", "--rounds", "1", "--json", "--set", "log.level=error")
    assert await process.wait(timeout=PATIENCE_SECONDS) == 0, process.report()
    found = json.loads(process.stdout)
    assert found["is_result"] is True
    assert [step["size"] for step in found["runs"][0]["steps"]] == [0, 200]
    shares = {figure["figure"]: figure["mesh"]["median"] for figure in found["figures"]}
    assert shares["worker_share"] > 0
    assert shares["lookup"] > 0


def _left_in(folder: Path) -> list[Path]:
    return list(folder.glob("chatmesh-bench-*"))


def test_a_missing_broker_is_said_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path / "none"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    assert main(["bench", "ttft", "--keep", str(tmp_path / "kept")]) == 3
    assert "Install it: pip install" in capsys.readouterr().err
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.slow
def test_too_few_open_files_are_said_before_anything_is_begun(tmp_path: Path) -> None:
    bench = f"ulimit -n 500; exec {sys.executable} -m chatmesh bench idle"
    done = subprocess.run(
        ["/bin/sh", "-c", bench],
        cwd=REPOSITORY,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "10000 connections need 10200 open files in one process, and 500 are allowed" in done.stderr
    assert "ulimit -Hn" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["moon"], "no scenario moon"),
        (["--set", "batch.flush_ms"], "batch.flush_ms"),
        (["--set", "batch.flush_ms=soon"], "batch.flush_ms"),
        (["--set", "moon.phase=1"], "moon"),
        (["--baseline", "gone.json"], "gone.json"),
        (["--baseline", "other.json"], "no result of `chatmesh bench`"),
        (["--report", "no/such/folder.html"], "no such folder"),
        (["--rounds", "0"], "at least 1"),
        (["--minutes", "0"], "more than 0"),
        (["--minutes", "nan"], "more than 0"),
        (["--processes", "0"], "at least 1"),
        (["--beside", "gone.json"], "gone.json"),
        (["--beside", "other.json"], "no list of figures"),
        (["--layout", "sideways"], "sideways"),
        (["deep", "--broker", "nats://127.0.0.1:1"], "broker that is there already"),
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
    (tmp_path / "other.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["bench", *arguments])
    except SystemExit as end:  # argparse's way out
        code = int(end.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err
