"""`chatmesh dev`: one command, everything runs; one Ctrl-C, nothing is left."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.cli.support import StartProcess, is_alive, log_lines, start_dev
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

SLOW: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 40}


async def test_banner_names_every_url_and_says_that_nothing_is_kept(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")
    banner = dev.process.stdout
    assert f"{dev.url}/v1/sessions/{{session_id}}/messages" in banner
    assert f"{dev.url}/v1/sessions/{{session_id}}/events" in banner
    assert dev.nats_url.startswith("nats://127.0.0.1:")
    assert dev.data.is_dir()
    assert "gone when this ends" in dev.kept
    assert "count, demo, echo" in banner
    async with httpx.AsyncClient(base_url=dev.url) as client:
        for path in ("/", "/readyz", "/metrics", "/healthz"):
            assert (await client.get(path)).status_code == 200
            assert path == "/healthz" or f"{dev.url}{path}" in banner
    token = re.search(r'token: "(.+)"', (dev.data / "nats-server.conf").read_text())
    assert token
    assert token[1] not in dev.process.stdout + dev.process.stderr


@pytest.mark.skipif(
    shutil.which("curl") is None and not os.environ.get("CI"), reason="needs curl: apt-get install curl"
)
async def test_curl_line_of_the_banner_works_as_it_stands(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")
    found = re.search(r"curl .*?\n.*?$", dev.process.stdout, re.MULTILINE)
    assert found
    command = f"{found[0]} --silent --show-error --max-time 30"
    done = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"finish_reason":"stop"' in done.stdout
    assert "Hi" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_it_with_0_and_leaves_nothing(
    chatmesh: StartProcess, number: signal.Signals
) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")
    server = dev.server_pid
    dev.process.signal(number)
    assert await dev.process.wait() == 0
    assert not is_alive(server)
    assert not dev.data.parent.exists()
    assert "Traceback" not in dev.process.stderr


@pytest.mark.slow
async def test_sigterm_lets_an_answer_end_before_it_leaves(chatmesh: StartProcess) -> None:
    """Its reader is told to come back; the answer is finished and kept all the same."""
    dev = await start_dev(chatmesh, "--data", "kept")
    reading = Reading()
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
        assert (await post(client, "s", **SLOW)).status_code == 202
        async with events(client, "s", reading=reading) as stream:
            await stream.read(5)
            dev.process.signal(signal.SIGTERM)
            await stream.read_all()
    assert reading.named("drain")
    assert await dev.process.wait(timeout=30) == 0
    again = await start_dev(chatmesh, "--data", "kept")
    async with (
        httpx.AsyncClient(base_url=again.url, timeout=30) as client,
        events(client, "s", reading=reading) as stream,
    ):
        await stream.read_finals()
    assert reading.ids == list(range(41))
    assert reading.finals[0]["metadata"]["attempt"] == 1


async def test_second_signal_ends_it_at_once_and_leaves_nothing(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")
    server = dev.server_pid
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
        endless = {"model": "count", "max_tokens": 1000, "tokens_per_second": 5}
        assert (await post(client, "s", **endless)).status_code == 202
        async with events(client, "s") as stream:
            await stream.read(1)
            dev.process.signal(signal.SIGINT)
            await dev.process.wait_for_line('"kernel.signal"', stream="stderr")
            await stream.read_all()
            dev.process.signal(signal.SIGINT)
            assert await dev.process.wait() == 1
    assert not is_alive(server)
    assert not dev.data.parent.exists()


@pytest.mark.slow
async def test_signal_while_it_starts_ends_it_and_leaves_nothing(chatmesh: StartProcess) -> None:
    process = chatmesh("dev", "--port", "0", "--data", "kept")
    await process.wait_for_line("broker.connected", stream="stderr")
    process.signal(signal.SIGTERM)
    assert await process.wait() == 0
    await start_dev(chatmesh, "--data", "kept")


async def test_kill_takes_its_nats_server_along_and_its_data_can_be_used_at_once(
    chatmesh: StartProcess,
) -> None:
    dev = await start_dev(chatmesh, "--data", "kept")
    server = dev.server_pid
    dev.process.kill()
    await eventually(lambda: not is_alive(server))
    again = await start_dev(chatmesh, "--data", "kept")
    assert again.data == dev.data


async def test_session_is_there_after_a_restart_on_the_same_data(chatmesh: StartProcess) -> None:
    first = await start_dev(chatmesh, "--data", "kept")
    assert "kept" in first.kept
    async with httpx.AsyncClient(base_url=first.url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", "remember me", model="echo")).status_code == 202
        reading = await stream.read_finals()
    assert await first.process.terminate() == 0
    second = await start_dev(chatmesh, "--data", "kept")
    assert second.data == first.data
    async with httpx.AsyncClient(base_url=second.url, timeout=30) as client:
        rows = (await client.get("/v1/sessions/s/messages")).json()["messages"]
        assert [row["content"] for row in rows] == ["remember me", "remember me"]
        async with events(client, "s", reading=reading) as stream:
            assert (await post(client, "s", "again", model="echo")).status_code == 202
            await stream.read_finals(2)
    assert reading.text == "remember meagain"
    assert not reading.named("reset")


@pytest.mark.slow
async def test_answer_under_way_is_finished_after_a_kill_and_a_restart(chatmesh: StartProcess) -> None:
    first = await start_dev(chatmesh, "--data", "kept", "--set", "worker.ack_wait_seconds=1")
    reading = Reading()
    async with httpx.AsyncClient(base_url=first.url, timeout=30) as client:
        assert (await post(client, "s", **SLOW)).status_code == 202
        async with events(client, "s", reading=reading) as stream:
            await stream.read(10)
            first.process.kill()
    second = await start_dev(chatmesh, "--data", "kept", "--set", "worker.ack_wait_seconds=1")
    async with (
        httpx.AsyncClient(base_url=second.url, timeout=30) as client,
        events(client, "s", reading=reading) as stream,
    ):
        await stream.read_finals()
    assert reading.ids == list(range(41))


async def test_second_one_on_the_same_data_says_who_is_there(chatmesh: StartProcess) -> None:
    first = await start_dev(chatmesh, "--data", "kept")
    second = chatmesh("dev", "--port", "0", "--data", "kept")
    assert await second.wait(timeout=30) not in (0, 70)
    assert f"in use by process {first.process.pid}" in second.stderr
    assert str(first.data) in second.stderr
    assert "Traceback" not in second.stderr
    assert first.process.is_running


@pytest.mark.parametrize(
    "name",
    ["a: b # c", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ünï", "{x}", "'quoted'", "a=b"))],
)
async def test_data_directory_may_have_any_name(chatmesh: StartProcess, tmp_path: Path, name: str) -> None:
    dev = await start_dev(chatmesh, "--data", name)
    assert dev.data == tmp_path / name
    assert (tmp_path / name / "nats-server.conf").exists()
    assert await dev.process.terminate() == 0


@pytest.mark.slow
async def test_answers_stay_exact_when_its_nats_server_is_killed(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", **SLOW)).status_code == 202
        await stream.read(10)
        os.kill(dev.server_pid, signal.SIGKILL)
        reading = await stream.read_finals()
    assert reading.ids == list(range(41))
    assert [final["metadata"]["attempt"] for final in reading.finals] == [1]


@pytest.mark.chaos
async def test_it_gives_up_with_70_when_its_nats_server_dies_each_time(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")

    async def has_ended() -> bool:
        if not dev.process.is_running:
            return True
        try:
            os.kill(dev.server_pid, signal.SIGKILL)
        except (ValueError, ProcessLookupError, psutil.NoSuchProcess):  # it is not up again yet
            return False
        return False

    await eventually(has_ended, timeout=60, message="giving up")
    assert await dev.process.wait() == 70
    last = dev.process.stderr.splitlines()
    assert any(line.startswith("chatmesh: ") and "nats-server" in line for line in last)
    assert not dev.data.parent.exists()


@pytest.mark.slow
async def test_several_workers_in_one_process_share_the_work(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral", "--workers", "3")
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client, events(client, "s") as stream:
        for number in range(6):
            assert (await post(client, "s", f"{number} ", model="echo")).status_code == 202
        reading = await stream.read_finals(6)
    assert reading.text == "0 1 2 3 4 5 "


@pytest.mark.slow
async def test_model_is_the_one_of_messages_that_name_none(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral", "--model", "count")
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", max_tokens=3)).status_code == 202
        assert (await stream.read_finals()).text == "1 2 3 "


async def test_logs_are_json_lines_on_stderr_and_stdout_has_the_banner_only(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral")
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", **SLOW)).status_code == 202
        await stream.read_finals()
    assert await dev.process.terminate() == 0
    lines = log_lines(dev.process.stderr)
    assert all({"event", "level", "timestamp", "id"} <= set(line) for line in lines)
    assert {"web.listening", "ingress.accepted", "workflow.turn"} <= {line["event"] for line in lines}
    assert '"event"' not in dev.process.stdout
    assert dev.process.stdout.rstrip().endswith("Ctrl-C")


@pytest.mark.slow
async def test_nothing_that_people_or_models_say_stands_in_the_logs(chatmesh: StartProcess) -> None:
    dev = await start_dev(chatmesh, "--ephemeral", "--set", "log.level=debug")
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", "quicksilver", model="echo")).status_code == 202
        assert (await stream.read_finals()).text == "quicksilver"
    assert await dev.process.terminate() == 0
    assert "quicksilver" not in dev.process.stderr


async def test_python_has_nothing_to_complain_about(chatmesh: StartProcess) -> None:
    """No warning, no unclosed resource, no task that nobody waited for: Python's own development mode."""
    strict = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "0"}
    dev = await start_dev(chatmesh, "--ephemeral", env=strict)
    async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client, events(client, "s") as stream:
        assert (await post(client, "s", **SLOW)).status_code == 202
        await stream.read_finals()
    dev.process.signal(signal.SIGINT)
    assert await dev.process.wait(timeout=30) == 0
    for line in dev.process.stderr.splitlines():
        assert line.startswith("{"), dev.process.stderr
