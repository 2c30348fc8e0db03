"""Another distribution of the same package stops the command with what to do, whichever was installed last."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chatmesh_server.installed import others
from tests.docs.pages import ROOT
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
    assert others() == [name.lower().replace(".", "-")]


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
    assert others() == []


# --- the real thing: two wheels, and pip ---------------------------------------------------------------------------------


def wheel(folder: Path, name: str, files: dict[str, str], scripts: str = "") -> Path:
    """A wheel of those files."""
    stem = f"{name.replace('-', '_')}-1.3"
    info = f"{stem}.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.3\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": scripts,
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for at, text in (content | {f"{info}/RECORD": record}).items():
            archive.writestr(at, text)
    return path


def ours(folder: Path) -> Path:
    """Our own packages as they stand, with the commands that pyproject.toml declares."""
    files = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for package in ("chatmesh", "chatmesh_server")
        for path in (ROOT / package).rglob("*.py")
    }
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    scripts = pyproject.partition("[project.scripts]")[2].partition("[tool")[0].replace('"', "")
    return wheel(folder, "chatmesh-server", files, f"[console_scripts]{scripts}")


def theirs(folder: Path) -> Path:
    """Somebody else's `chatmesh`, which would not like to be imported."""
    return wheel(folder, "chatmesh", {"chatmesh/__init__.py": "raise RuntimeError('theirs')\n"})


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment; what both wheels need comes from this one's packages."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    installed_here = next(path for path in sys.path if path.endswith("site-packages"))
    # Last on the path, and without the editable chatmesh of this one, which would be found through a .pth.
    (site / "needed.pth").write_text(f"{installed_here}\n")
    return folder


def pip(environment: Path, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--python", environment / "bin/python", "--quiet", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def install(environment: Path, *wheels: Path) -> None:
    """One after the other, into what has neither."""
    for name in ("chatmesh", "chatmesh-server"):
        remove(environment, name)
    for path in wheels:
        pip(environment, "install", "--no-deps", "--no-index", path)


def remove(environment: Path, name: str) -> None:
    site = next(environment.glob("lib/python*/site-packages"))
    if (site / f"{name.replace('-', '_')}-1.3.dist-info").exists():
        pip(environment, "uninstall", "--yes", name)


def run(environment: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "bin" / command[0], *command[1:]],
        cwd=environment,
        capture_output=True,
        text=True,
        check=False,
    )


WAYS = [
    ("chatmesh", "version"),
    ("chatmesh-server", "version"),
    ("python", "-m", "chatmesh_server", "version"),
]


@pytest.mark.slow
def test_both_are_noticed_whichever_was_installed_last(environment: Path, tmp_path: Path) -> None:
    our_wheel, their_wheel = ours(tmp_path), theirs(tmp_path)
    for order in ((their_wheel, our_wheel), (our_wheel, their_wheel)):
        install(environment, *order)
        for command in WAYS:
            done = run(environment, *command)
            assert (done.returncode, done.stdout) == (2, ""), done
            assert "pip uninstall chatmesh`" in done.stderr
            assert "pip install --force-reinstall --no-deps chatmesh-server" in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_is_left_after_theirs_was_uninstalled_says_how_to_mend_it(
    environment: Path, tmp_path: Path
) -> None:
    our_wheel = ours(tmp_path)
    install(environment, our_wheel, theirs(tmp_path))
    remove(environment, "chatmesh")
    done = run(environment, "chatmesh", "version")
    assert done.returncode == 2
    assert "pip install --force-reinstall --no-deps chatmesh-server" in done.stderr
    pip(environment, "install", "--no-deps", "--no-index", "--force-reinstall", our_wheel)
    assert run(environment, "chatmesh", "version").stdout.startswith("chatmesh ")
