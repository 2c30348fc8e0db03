"""Every process as its own user on a real server: whatever the mesh does, it may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest

from tests.natsconf.support import Guarded
from tests.operate.support import finished
from tests.support.certificates import Authority
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.support.reading import Stream, events, post
from tests.support.waiting import eventually

Start = Callable[..., Process]
QUICK = ("--set", "heartbeat.interval_seconds=1", "--set", "default_model=echo")


async def started(chatmesh: Start, guarded: Guarded, id: str, *more: str) -> tuple[Process, str]:
    """The process, once it is ready, and its address."""
    process = chatmesh("run", "-c", guarded.file(id), *QUICK, "--set", "http.port=0", *more)
    line = orjson.loads((await process.wait_for_line('"event": "app.ready"', stream="stderr")).string)
    return process, line["url"]


async def holder(guarded: Guarded, session: str) -> str:
    async with guarded.client("monitor") as monitor:
        body = b'{"last_by_subj": "chat.session.%b.claim"}' % session.encode()
        answer = await monitor.client.request("$CHAT.API.DIRECT.GET.CHAT_TRANSCRIPT", body, timeout=10)
        return str(orjson.loads(answer.data)["worker_id"])


async def read_to_the_end(stream: Stream) -> str:
    return (await stream.read_finals()).text


@pytest.mark.slow
async def test_processes_do_all_they_do_as_the_users_that_natsconf_makes(
    guarded: Guarded, chatmesh: Start
) -> None:
    workers = {id: (await started(chatmesh, guarded, id))[0] for id in ("worker-1", "worker-2")}
    pods = [await started(chatmesh, guarded, id) for id in ("pod-1", "pod-2")]
    one, two = (httpx.AsyncClient(base_url=url, timeout=30) for _, url in pods)
    async with one, two:
        async with events(two, "s") as stream:
            await post(one, "s", "over both", model="echo")
            assert await read_to_the_end(stream) == "over both"
        async with events(two, "t") as stream:
            await post(one, "t", "", model="count", max_tokens=60, tokens_per_second=15)
            await stream.read(5)
            workers[await holder(guarded, "t")].kill()
            reading = await stream.read_finals()
            assert reading.text.split() == [str(number) for number in range(1, 61)]
            assert reading.finals[-1]["metadata"]["attempt"] == 2
        await post(one, "u", "", message_id="m", model="count", max_tokens=5000, tokens_per_second=10)
        assert (await two.delete("/v1/sessions/u/messages/m")).status_code < 300
        assert (await one.delete("/v1/sessions/s")).status_code == 202
        await guarded.wait_until_worked_off()
        for arguments in (
            ("health", "pod-1"),
            ("dlq", "list"),
            ("verify", "t"),
            ("ps",),
            ("sessions",),
            ("queue",),
            ("top", "--once"),
            ("doctor", "--role", "pod", "--set", "id=monitor"),
        ):
            code, process = await finished(chatmesh, *arguments, "-c", guarded.file("monitor"))
            assert code == (1 if arguments[0] == "doctor" else 0), process.report()
        for id in ("pod-1", "worker-1"):
            code, process = await finished(chatmesh, "doctor", "-c", guarded.file(id))
            assert code == 0, process.report()
    for process, _ in pods:
        assert await process.terminate(timeout=30) == 0
        assert "permission_denied" not in process.stderr


def certificates(directory: Path) -> Path:
    """A folder with what `--tls` expects."""
    authority = Authority(directory)
    identity = authority.sign("127.0.0.1")
    folder = directory / "tls"
    folder.mkdir()
    for name, source in (
        ("server.pem", identity.cert_file),
        ("server-key.pem", identity.key_file),
        ("ca.pem", authority.ca_file),
    ):
        (folder / name).write_bytes(Path(source).read_bytes())
    return folder


@pytest.mark.slow
async def test_message_is_answered_over_tls_too(tmp_path: Path, chatmesh: Start) -> None:
    folder = certificates(tmp_path)
    guarded = await Guarded.start(tmp_path / "nats", chatmesh, "--tls", str(folder))
    url = guarded.broker.url.replace("nats://", "tls://")
    ca = f"nats.tls.ca_file={folder / 'ca.pem'}"
    try:
        async with (
            running(url, ca, *guarded.settings("worker-1"), role="worker", id="worker-1"),
            running(url, ca, *guarded.settings("pod-1"), role="pod", id="pod-1") as pod,
            client_of(pod) as client,
            events(client, "s") as stream,
        ):
            await post(client, "s", "sealed", model="echo")
            assert await read_to_the_end(stream) == "sealed"
        assert "violation" not in guarded.broker.log().lower()
    finally:
        guarded.broker.stop()


@pytest.mark.slow
async def test_command_that_its_user_may_not_do_is_exit_4_and_says_what_is_missing(
    guarded: Guarded, chatmesh: Start
) -> None:
    for id, arguments, missing in (
        ("deploy", ("dlq", "list"), "DIRECT.GET"),
        (
            "monitor",
            ("streams", "ensure", "--apply", "--set", "streams.requests_max_age_hours=5"),
            "STREAM.UPDATE",
        ),
        ("pod-1", ("health", "pod-2"), "chat.pod.pod-2.health"),
    ):
        code, process = await finished(chatmesh, *arguments, "-c", guarded.file(id))
        assert code == 4, process.report()
        assert missing.lower() in process.stderr.lower()


@pytest.mark.slow
async def test_process_that_may_not_make_a_missing_stream_says_so(guarded: Guarded, chatmesh: Start) -> None:
    # Nobody of natsconf's may delete one, so another server's operator has never made them.
    await guarded.broker.terminate()
    for file in (guarded.folder / "jetstream").rglob("*"):
        if file.is_file():
            file.unlink()
    await guarded.broker.launch()
    code, process = await finished(chatmesh, "run", "-c", guarded.file("worker-1"))
    assert code == 4, process.report()
    assert "WORKFLOW_REQUESTS is missing" in process.stderr
    assert "chatmesh streams ensure --apply" in process.stderr
    await eventually(lambda: not process.is_running)
