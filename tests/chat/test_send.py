"""`chatmesh send`: one message, its answer on stdout, all else on stderr, and an exit code that says how it went."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat.support import read_until, rest_of, send, sending, url_of
from tests.client.scripted import answer, pods, stream
from tests.operate.support import chunk, sha
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import models
from tests.support.ports import free_port
from tests.support.processes import Process

pytestmark = pytest.mark.slow

COUNTED = "".join(f"{number} " for number in range(1, 101))
SILENT = "demo.tokens_per_second=0.01"
"""One token now, the next in a hundred seconds."""


async def test_answer_is_on_stdout_and_everything_else_on_stderr(broker: Broker, tmp_path: Path) -> None:
    """Argument, pipe and both; text, JSON; and what can't be sent."""
    async with running(broker.url) as mesh, client_of(mesh) as http:
        url = url_of(mesh)
        said = await send(tmp_path, "one two", "--url", url, "--session", "s", "--model", "echo")
        assert (said.code, said.stdout, said.stderr) == (0, "one two\n", "")

        environment = {"CHATMESH_URL": url}
        both = await send(tmp_path, "look", "--model", "echo", piped=b"a\nb\n", environment=environment)
        assert (both.code, both.stdout) == (0, "look\n\na\nb\n")
        assert both.stderr.startswith("session sess_")

        alone = await send(tmp_path, "--json", "--model", "echo", piped=b"only\n", environment=environment)
        found = json.loads(alone.stdout)
        assert found["content"] == "only"
        assert found["digest"] == found["metadata"]["digest"] == sha("only")
        assert (found["finish_reason"], found["error"], found["reconnects"]) == ("stop", None, 0)
        page = (await http.get(f"/v1/sessions/{found['session_id']}/messages")).json()
        assert {row["message_id"] for row in page["messages"]} == {found["message_id"]}

        unknown = await send(tmp_path, "x", "--model", "nope", "--json", environment=environment)
        assert unknown.code == 2
        assert "count, demo, echo" in unknown.stderr
        assert json.loads(unknown.stdout)["error"]["code"] == "unknown_model"


async def test_ctrl_c_stops_an_answer_at_the_server_and_says_so(broker: Broker, tmp_path: Path) -> None:
    async with running(broker.url, SILENT) as mesh, client_of(mesh) as http:
        named = ("--url", url_of(mesh), "--session", "s", "--message-id", "m", "--model", "count")
        async with sending(tmp_path, "go", *named) as process:
            assert await read_until(process.stdout, b"1 ") == b"1 "  # as it comes: the answer is not over
            process.send_signal(signal.SIGINT)
            ended = await rest_of(process)
        assert (ended.code, ended.stdout) == (130, "\n")
        assert "stopped after 1 token: session s, message m" in ended.stderr
        row = (await http.get("/v1/sessions/s/messages/m")).json()
        assert (row["status"], row["content"]) == ("stopped", "1 ")

        again = await send(tmp_path, "go", *named, "--json")
        found = json.loads(again.stdout)
        assert again.code == 1
        assert (found["content"], found["finish_reason"], found["error"]["code"]) == (
            "1 ",
            "cancelled",
            "cancelled",
        )

        late = await send(tmp_path, "go", *named[:4], "--model", "count", "--timeout", "3")
        assert late.code == 1
        assert "has not ended within 3 s" in late.stderr
        left = re.search(r"--session s --message-id (msg_\w+)", late.stderr)
        assert left
        # It goes on without anybody, until somebody stops it.
        assert (await http.delete(f"/v1/sessions/s/messages/{left[1]}")).status_code == 202


async def test_message_that_is_repeated_with_its_id_is_asked_once(broker: Broker, tmp_path: Path) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http:
        named = ("--url", url_of(mesh), "--session", "s", "--message-id", "m", "--model", "echo")
        for _ in range(2):
            assert (await send(tmp_path, "once", *named)).stdout == "once\n"
        assert len((await http.get("/v1/sessions/s/messages")).json()["messages"]) == 2
        other = await send(tmp_path, "something else", *named)
        assert other.code == 2
        assert not other.stdout


async def test_closed_pipe_stops_the_answer_and_is_no_traceback(broker: Broker, tmp_path: Path) -> None:
    async with running(broker.url, "demo.tokens_per_second=50") as mesh, client_of(mesh) as http:
        command = f"{sys.executable} -m chatmesh send go --url {url_of(mesh)} --session s --model count </dev/null | head -c 4"
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", command], capture_output=True, check=False
        )
        assert (done.stdout, done.stderr) == (b"1 2 ", b"")
        rows = (await http.get("/v1/sessions/s/messages")).json()["messages"]
        assert rows[1]["finish_reason"] == "cancelled"


async def test_answer_that_begins_anew_is_told_and_counts_alone(broker: Broker, tmp_path: Path) -> None:
    async with running(broker.url, models("failing_once")) as mesh:
        named = ("--url", url_of(mesh), "--session", "s", "--message-id", "m", "--model", "failing_once")
        shown = await send(tmp_path, "go", *named)
        assert (shown.code, shown.stdout) == (0, "one \ntwo\n")
        assert "begins anew" in shown.stderr
        found = json.loads((await send(tmp_path, "go", *named, "--json")).stdout)
        assert (found["content"], found["finish_reason"]) == ("two", "length")


@pytest.mark.slow
async def test_answer_goes_on_at_another_pod_when_its_own_is_killed(
    broker: Broker, tmp_path: Path, chatmesh: Callable[..., Process]
) -> None:
    ports = [free_port(), free_port()]
    settings = ("--set", f"nats.servers={broker.url}", "--set")
    killed = {
        port: chatmesh("run", "--role", "pod", "--id", f"pod-{port}", *settings, f"http.port={port}")
        for port in ports
    }
    async with running(broker.url, "demo.tokens_per_second=20", role="worker"):
        for process in killed.values():
            await process.wait_for_line("app.ready", stream="stderr")
        urls = [part for port in ports for part in ("--url", f"http://127.0.0.1:{port}")]
        async with sending(tmp_path, "go", *urls, "--session", "s", "--model", "count") as process:
            begun = await read_until(process.stdout, b"9 ")
            port = await _read_port(ports)
            killed[port].kill()
            ended = await rest_of(process)
    assert (ended.code, begun.decode() + ended.stdout) == (0, f"{COUNTED}\n")


async def _read_port(ports: list[int]) -> int:
    """The one whose pod has the reader."""
    async with httpx.AsyncClient() as http:
        for port in ports:
            if "chatmesh_readers 1.0" in (await http.get(f"http://127.0.0.1:{port}/metrics")).text:
                return port
    raise AssertionError("nobody reads")


async def test_nobody_reachable_is_3_and_nonsense_is_2(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    nobody = await send(tmp_path, "hi", "--url", away, "--json")
    assert nobody.code == 3
    assert away in nobody.stderr
    assert json.loads(nobody.stdout)["error"]["code"] == "unreachable"


SECRET = "xyzzy-secret"
FINAL: dict[str, Any] = {"is_final": True, "metadata": {"finish_reason": "stop", "digest": sha("whole")}}


async def test_token_is_sent_as_bearer_and_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    refusal = answer(401, {"code": "unauthorised", "detail": "No such token."})
    async with pods([refusal]) as (pod,):
        named = ("hi", "--url", pod.url, "--token-file", "token")
        of_file = await send(tmp_path, *named)
        of_environment = await send(tmp_path, *named[:3], environment={"CHATMESH_TOKEN": SECRET})
    for run in (of_file, of_environment):
        assert run.code == 4
        assert "No such token" in run.stderr
        assert SECRET not in run.text
    assert [each.headers["authorization"] for each in pod.asked] == [f"Bearer {SECRET}"] * 2


async def test_text_that_is_not_what_was_written_fails_loudly(tmp_path: Path) -> None:
    blocks = [
        f"data: {json.dumps(each)}\n\n" for each in (chunk("m", 0, "who"), chunk("m", 1, "**", **FINAL))
    ]
    async with pods([answer(202, {"message_id": "m"}), stream("id: p\nretry: 1\n\n", *blocks)]) as (pod,):
        run = await send(tmp_path, "hi", "--url", pod.url, "--message-id", "m")
    assert run.code == 1
    assert run.stdout == "who**\n"
    assert f"its digest is {sha('who**')}" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((" ",), "no message"),
        ((), "no message"),
        (("hi", "--url", "ftp://x"), "--url"),
        (("hi", "--url", "http://ann:xyzzy-secret@x"), "--token-file"),
        (("hi", "--session", "a.b"), "--session"),
        (("hi", "--message-id", "*"), "--message-id"),
        (("hi", "--timeout", "0"), "--timeout"),
        (("hi", "--token-file", "nowhere"), "nowhere"),
    ],
)
async def test_what_can_not_be_sent_is_2_before_anything_is_asked(
    tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    run = await send(tmp_path, *arguments)
    assert (run.code, run.stdout) == (2, "")
    assert word in run.stderr
    assert SECRET not in run.stderr
