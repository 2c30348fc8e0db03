"""Another distribution of the same package stops the command with what to do, and its help still works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chatmesh.cli.installed import refuse_others
from chatmesh.errors import ConfigError
from tests.operate.support import Start, finished

THEIRS = "chatmesh/__init__.py,sha256=x,1\nchatmesh/relay.py,sha256=y,1\n"


def installed(folder: Path, name: str, record: str, top_level: str | None = None) -> Path:
    """A distribution as pip leaves it: its folder of metadata."""
    info = folder / f"{name.replace('-', '_')}-1.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.3\n")
    (info / "RECORD").write_text(record)
    if top_level is not None:
        (info / "top_level.txt").write_text(top_level)
    return folder


async def test_command_stops_beside_another_distribution_of_its_package(
    chatmesh: Start, tmp_path: Path
) -> None:
    folder = installed(tmp_path / "site", "chatmesh", THEIRS)
    code, process = await finished(chatmesh, "version", env={"PYTHONPATH": str(folder)})
    assert code == 2
    assert "pip uninstall chatmesh`" in process.stderr
    assert "chatmesh-server" in process.stderr
    assert process.stdout == ""


async def test_help_is_given_all_the_same(chatmesh: Start, tmp_path: Path) -> None:
    folder = installed(tmp_path / "site", "chatmesh", THEIRS)
    code, process = await finished(chatmesh, "--help", env={"PYTHONPATH": str(folder)})
    assert code == 0
    assert "usage: chatmesh" in process.stdout


@pytest.mark.parametrize(
    ("name", "record", "top_level"),
    [
        ("chatmesh", THEIRS, None),
        ("chatmesh", "", "chatmesh\n"),
        ("Some.Fork", THEIRS, None),
    ],
)
def test_whoever_provides_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, record: str, top_level: str | None
) -> None:
    monkeypatch.syspath_prepend(str(installed(tmp_path, name, record, top_level)))
    with pytest.raises(ConfigError, match=f"pip uninstall {name.lower().replace('.', '-')}`"):
        refuse_others()


@pytest.mark.parametrize(
    ("name", "record", "top_level"),
    [
        ("chatmesh-server", THEIRS, None),
        ("chatmesh_server", "", "chatmesh\n"),
        ("chatmesh-themes", "chatmesh_themes/__init__.py,,\nother/chatmesh/x.py,,\n", None),
        ("old", "", "chatmeshes\nother\n"),
    ],
)
def test_our_own_distribution_and_neighbours_are_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, record: str, top_level: str | None
) -> None:
    monkeypatch.setattr(sys, "path", [str(installed(tmp_path, name, record, top_level))])
    refuse_others()
