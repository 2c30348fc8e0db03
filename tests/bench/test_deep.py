"""The transcript is filled with what a mesh takes for its own, whole or not at all, and the filling is no part of the figures."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from chatmesh import operate
from chatmesh.app import Mesh
from chatmesh.cli import main
from chatmesh.errors import ChatmeshError
from chatmesh.operate.bench import BY_NAME, loader
from chatmesh.operate.bench.job import FILLED_BYTES, Load
from chatmesh.operate.bench.layout import Layout, require_disk
from chatmesh.operate.bench.load.deep import is_past
from chatmesh.operate.bench.load.filler import Filler, filler
from chatmesh.operate.bench.load.filling import ANSWER, PER_SESSION, TURNS, Sessions, messages
from chatmesh.operate.bench.measure import Measurement
from chatmesh.operate.bench.measured import Run
from chatmesh.operate.bench.served import Served
from chatmesh.operate.chaos.observer import observer
from tests.cli.support import StartProcess
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.stored import TRANSCRIPT, api, update_stream

PATIENCE_SECONDS = 150.0
REPOSITORY = Path(__file__).parents[2]
WRITTEN = 1764183334.435
SESSIONS = 60
"""More than are acknowledged together, and no multiple of that."""


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, "default_model=count") as mesh:
        yield mesh


@asynccontextmanager
async def filling(broker: Broker) -> AsyncIterator[Filler]:
    async with observer([broker.url]) as seen, filler(seen, broker.url, "past") as others:
        yield others


async def state(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await api(client, f"STREAM.INFO.{TRANSCRIPT}"))["state"]
    return found


@given(
    number=st.integers(0, 99_999_999),
    seq=st.one_of(
        st.integers(1, 50_000_000), st.integers(1, 8).map(lambda digits: 10**digits - PER_SESSION // 2)
    ),
    reply=st.sampled_from(["", "_INBOX.0123456789abcdef"]),
)
def test_a_session_that_is_put_together_is_what_the_encoders_write(number: int, seq: int, reply: str) -> None:
    sessions = Sessions("b0123abcd-past", WRITTEN)
    assert sessions.block(number, seq, reply) == sessions.plain_block(number, seq, reply)


def test_a_session_is_no_larger_than_what_room_is_asked_for() -> None:
    at_most = 99_999_999
    name = Sessions("b0123abcd-past", WRITTEN).id(at_most)
    found = list(messages(name, at_most, WRITTEN))
    assert len(found) == PER_SESSION
    assert sum(len(each.published("")) for each in found) < FILLED_BYTES * PER_SESSION
    for load in (BY_NAME["deep"].load, BY_NAME["deep"].quick):
        assert load.disk_bytes == max(load.steps) * FILLED_BYTES
        assert not any(step % PER_SESSION for step in load.steps)


async def test_what_was_filled_is_verified_shown_and_gone_on_with_as_any_session(
    mesh: Mesh, broker: Broker
) -> None:
    async with filling(broker) as others, client_of(mesh) as http:
        await others.fill_to(SESSIONS * PER_SESSION)
        assert others.begun == SESSIONS
        for number in (0, SESSIONS // 2, SESSIONS - 1):
            session = others.sessions.id(number)
            checked = await operate.verify(mesh.broker, session)
            assert checked.violations == ()
            assert [message.verdict for message in checked.messages] == ["holds"] * TURNS
            assert {message.finish_reason for message in checked.messages} == {"length"}
            shown = await http.get(f"/v1/sessions/{session}/messages")
            assert is_past(shown.content), shown.text
            assert not is_past(shown.content.replace(ANSWER.encode(), b"1 2 ", 1))
        session = others.sessions.id(1)
        async with events(http, session) as stream:
            assert (await post(http, session, "count", message_id="next")).status_code == 202
            await stream.read_finals()
        checked = await operate.verify(mesh.broker, session)
        assert checked.violations == ()
        assert len(checked.messages) == TURNS + 1


async def test_filling_goes_on_behind_what_others_have_said_between(
    mesh: Mesh, broker: Broker, nats_client: Client
) -> None:
    async with filling(broker) as others, client_of(mesh) as http:
        await others.fill_to(2 * PER_SESSION)
        async with events(http, "s") as stream:
            assert (await post(http, "s", "count", message_id="m")).status_code == 202
            await stream.read_finals()
        between = (await state(nats_client))["messages"] - 2 * PER_SESSION
        assert between > 0
        await others.fill_to(4 * PER_SESSION)
        stand = await others.stand()
        assert stand.messages == stand.last_seq == 4 * PER_SESSION + between
        assert (await operate.verify(mesh.broker, others.sessions.id(3))).violations == ()


@pytest.mark.usefixtures("mesh")
async def test_a_message_that_is_lost_on_its_way_is_noticed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filling(broker) as others:
        whole = others.sessions.block

        def lossy(number: int, seq: int, reply: str) -> bytes:
            """Without its first message in one session."""
            block = whole(number, seq, reply)
            return block[block.index(b"HPUB", 1) :] if number == 7 else block

        monkeypatch.setattr(others.sessions, "block", lossy)
        with pytest.raises(ChatmeshError, match=r"the broker refused one .wrong last sequence"):
            await others.fill_to(SESSIONS * PER_SESSION)


@pytest.mark.usefixtures("mesh")
async def test_a_message_that_is_gone_again_is_noticed(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filling(broker) as others:
        stand = others.stand

        async def forgetful() -> Any:
            if (await state(nats_client))["last_seq"]:
                await api(nats_client, f"STREAM.MSG.DELETE.{TRANSCRIPT}", {"seq": 5})
            return await stand()

        monkeypatch.setattr(others, "stand", forgetful)
        with pytest.raises(ChatmeshError, match="1200 messages were published, and the stream has 1199 more"):
            await others.fill_to(SESSIONS * PER_SESSION)


@pytest.mark.usefixtures("mesh")
async def test_a_transcript_that_is_full_is_said_to_be(broker: Broker, nats_client: Client) -> None:
    await update_stream(nats_client, TRANSCRIPT, max_bytes=100_000)
    async with filling(broker) as others:
        with pytest.raises(
            ChatmeshError, match=r"the broker refused one .* holds \d\d,\d{3} of 100,000 bytes"
        ):
            await others.fill_to(SESSIONS * PER_SESSION)


async def test_a_transcript_in_parts_is_not_filled(broker: Broker) -> None:
    async with running(broker.url, "streams.partitions=2"):
        with pytest.raises(ChatmeshError, match="lies in parts"):
            async with filling(broker):
                raise AssertionError("it was begun")


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    require_disk(tmp_path, 1)
    with pytest.raises(ChatmeshError, match=r"up to 1073741824\.0 GiB"):
        require_disk(tmp_path, 2**60)


class Spending(Served):
    """Servers that have spent what the test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Layout())
        self.spent = 1.0

    async def start(self) -> None:
        """They are there."""

    async def end_nodes(self) -> None:
        self.spent += 1000

    async def begin_nodes(self) -> None:
        """With clocks that begin anew."""
        self.spent = 3.0

    def cpu(self) -> dict[str, float]:
        return {"broker": self.spent}


@pytest.mark.slow
async def test_what_is_spent_while_the_client_is_apart_is_no_part_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(loader, "COMMAND", (sys.executable, "-m", "tests.bench.apart"))
    run, served, phases = Run(1, "deep", "mesh"), Spending(tmp_path), []

    def tell(phase: str, _done: int, _of: int) -> None:
        phases.append(phase)
        served.spent += 100 if phase == "filling" else 0

    async with asyncio.timeout(PATIENCE_SECONDS):
        await Measurement(run, served, tmp_path, Layout(), tell).measure(Load("deep"), "b")
    assert "filling" in phases
    assert "beginning pods and workers anew" in phases
    assert run.cpu == {"broker": 0.0}


@pytest.mark.slow
async def test_requests_are_measured_beside_what_others_have_said(chatmesh: StartProcess) -> None:
    process = chatmesh("bench", "deep", "--quick", "--json", "--set", "log.level=error")
    assert await process.wait(timeout=PATIENCE_SECONDS) == 0, process.report()
    found = json.loads(process.stdout)
    assert found["is_result"] is True
    (run,) = found["runs"]
    empty, full = run["steps"]
    assert (empty["size"], full["size"]) == (0, 20_000)
    assert full["messages"] >= empty["messages"] + 20_000
    assert full["each"] == pytest.approx(sum(full[role] for role in ("broker", "pod", "worker")))
    assert full["disk_mib"] > full["stored_mib"] > 10
    assert full["history"] > 0
    assert full["beside"] == pytest.approx(
        sum(full[f"beside: {role}"] for role in ("broker", "pod", "worker"))
    )
    figures = {figure["figure"]: figure["mesh"]["median"] for figure in found["figures"]}
    assert set(figures) == {figure.key for figure in BY_NAME["deep"].figures}
    assert figures["growth"] == pytest.approx(full["each"] / empty["each"], rel=1e-3)


@pytest.mark.slow
def test_a_run_whose_transcript_can_not_hold_them_is_void_and_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    full = ["--set", "streams.transcript_max_bytes=4194304", "--keep", str(tmp_path / "full")]
    assert main(["bench", "deep", "--quick", *full]) == 1
    shown = capsys.readouterr().out
    assert "VOID round 1, deep, mesh: " in shown
    assert "of 4,194,304 bytes" in shown
