"""The README's snippets for other people's clients: each is run as it stands, but for the port, and shows the answer."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.support.broker import Broker
from tests.support.children import Child
from tests.support.mesh import client_of, running
from tests.support.node import NODE, installed
from tests.support.reading import post
from tests.support.waiting import eventually

README = page("README.md")
PATIENCE_SECONDS = 30


@pytest.fixture(scope="session")
def programs() -> Path:
    return installed(Path(__file__).parent / "node", "the README's useChat and EventSource are")


def snippet(language: str, url: str) -> str:
    """The only one in that language, at a pod of the test."""
    (written,) = README.blocks(language)
    assert written.count("http://127.0.0.1:8080") == (0 if language == "jsx" else 1)
    return written.replace("http://127.0.0.1:8080", url)


async def test_python_snippet_prints_the_answer(broker: Broker, tmp_path: Path) -> None:
    async with running(broker.url) as mesh:
        assert mesh.server is not None
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", snippet("python", mesh.server.url)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, _ = await child.communicate()
    assert output.decode() == "one two three"


@pytest.mark.slow
async def test_react_snippet_shows_what_was_typed_and_the_answer(
    broker: Broker, programs: Path, tmp_path: Path
) -> None:
    source, output, errors = (tmp_path / name for name in ("chat.jsx", "out", "err"))
    async with running(broker.url) as mesh, client_of(mesh) as http:
        assert mesh.server is not None
        source.write_text(snippet("jsx", mesh.server.url))
        command = [NODE, "chat.mjs", mesh.server.url, str(source), "four five"]
        child = Child(command, stdout=output, stderr=errors, cwd=programs)
        try:

            def is_shown() -> bool:
                # Before its output: a page that has shown everything may end.
                is_running = child.is_running
                lines = output.read_text().rpartition("\n")[0].splitlines()
                if lines and json.loads(lines[-1]) == ["four five", "four five"]:
                    return True
                assert is_running, errors.read_text()
                return False

            await eventually(is_shown, timeout=PATIENCE_SECONDS, message="question and answer on the page")
        finally:
            await asyncio.to_thread(child.kill)
        rows = (await http.get("/v1/sessions/page/messages")).json()["messages"]
    assert [row["content"] for row in rows] == ["four five", "four five"]
    assert "Error" not in errors.read_text()


@pytest.mark.slow
async def test_eventsource_snippet_tells_every_chunk(broker: Broker, programs: Path, tmp_path: Path) -> None:
    source, output, errors = (tmp_path / name for name in ("listen.js", "out", "err"))
    async with running(broker.url) as mesh, client_of(mesh) as http:
        assert mesh.server is not None
        source.write_text(snippet("js", mesh.server.url))
        child = Child([NODE, "listen.mjs", source], stdout=output, stderr=errors, cwd=programs)
        try:

            async def is_listening() -> bool:
                return "\nchatmesh_readers 1.0\n" in (await http.get("/metrics")).text

            await eventually(is_listening, timeout=PATIENCE_SECONDS, message="the reader")
            await post(http, "tour", "one two three", model="echo")

            def is_told() -> bool:
                assert child.is_running, errors.read_text()
                return output.read_text() == "one \ntwo \nthree\n\n"

            await eventually(is_told, timeout=PATIENCE_SECONDS, message="every chunk of the answer")
        finally:
            await asyncio.to_thread(child.kill)
