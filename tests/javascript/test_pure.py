"""The browser's client, where it needs no server; and its folder as a package."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import chatmesh
from tests.docs.pages import ROOT
from tests.javascript.programs import CLIENT, PROGRAMS
from tests.support.node import _NPM, NODE, installed

MOST_BYTES = 150_000
"""Of all that a browser loads for the page, as it stands."""

IN_DEVELOPMENT = {"plug.js"}
"""What it loads in development only."""


@pytest.mark.parametrize(("name", "count"), [("pure", 10), pytest.param("joint", 9, marks=pytest.mark.slow)])
async def test_what_needs_no_server_does_what_it_says(name: str, count: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(NODE, "--test", "--test-reporter=tap", PROGRAMS / f"{name}.test.mjs"),
        env={**os.environ, "CLIENT": str(CLIENT)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert f"\n# pass {count}\n".encode() in output


def test_package_has_the_version_of_the_server_and_depends_on_nothing() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    assert package["version"] == chatmesh.__version__
    assert "dependencies" not in package
    imports = {
        line.rpartition(" from ")[2].strip('";')
        for path in CLIENT.rglob("*.js")
        for line in path.read_text().splitlines()
        if line.startswith(("import ", "export {"))
    }
    assert all(name.startswith("./") for name in imports)


def test_page_and_client_are_less_than_150_kb() -> None:
    folders = (CLIENT, CLIENT.parent / "page")
    loaded = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".js", ".css", ".html", ".svg"} and path.name not in IN_DEVELOPMENT
    ]
    assert sum(path.stat().st_size for path in loaded) < MOST_BYTES


@pytest.mark.slow
def test_npm_packs_what_its_users_need(tmp_path: Path) -> None:
    subprocess.run([NODE, _NPM, "pack", CLIENT], cwd=tmp_path, check=True, capture_output=True)
    (packed,) = tmp_path.glob("*.tgz")
    with tarfile.open(packed) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    here = {str(path.relative_to(CLIENT)) for path in CLIENT.rglob("*") if path.is_file()}
    assert names == here


@pytest.mark.slow
def test_program_that_uses_it_is_well_typed(tmp_path: Path) -> None:
    programs = installed(PROGRAMS, "the types of the browser's client are")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "chatmesh-client").symlink_to(CLIENT)
    (tmp_path / "types.ts").write_text((PROGRAMS / "types.ts").read_text())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    checker = programs / "node_modules" / "typescript" / "bin" / "tsc"
    options = [
        "--noEmit",
        "--strict",
        "--target",
        "es2024",
        "--module",
        "nodenext",
        "--lib",
        "es2024,dom,dom.iterable",
    ]
    done = subprocess.run(
        [NODE, checker, *options, "types.ts"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_wheel_has_every_file_of_page_and_client(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", ".*cache")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    folders = (CLIENT, CLIENT.parent / "page")
    here = {str(path.relative_to(ROOT)) for each in folders for path in each.rglob("*") if path.is_file()}
    assert here <= names
