"""The command line as people use it: real processes, in a directory of the test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from chatmesh.cli import main
from tests.cli.support import Chatmesh, Run, run_chatmesh


@pytest.fixture
def run(tmp_path: Path) -> Chatmesh:
    """Runs `chatmesh ARGUMENTS…` as a process to its end."""
    return partial(run_chatmesh, tmp_path)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chatmesh:
    """The same without a process, for what ends before anything starts: a hundred times as fast."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, env: Mapping[str, str] | None = None) -> Run:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            try:
                code = main(arguments)
            except SystemExit as end:  # argparse's way out
                code = int(end.code or 0)
        output = capsys.readouterr()
        return Run(code, output.out, output.err)

    return call


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the person who runs the tests has set for their own chatmesh."""
    for name in [name for name in os.environ if name.startswith("CHATMESH_")]:
        monkeypatch.delenv(name)
