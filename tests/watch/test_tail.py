"""`chatmesh tail`: every record once and in order, whatever happens to the broker; and only what may be seen."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.errors import KeyMissingError
from chatmesh.operate import tail as module
from chatmesh.operate.tail import Notice, Told, Unreadable, follow
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from tests.operate.support import Start, finished
from tests.sealing.support import ring_of, sealed, write_ring
from tests.support.broker import Broker
from tests.support.mesh import Mesh, client_of, running
from tests.support.reading import events, post
from tests.support.stored import chunks, text
from tests.support.waiting import eventually
from tests.watch.support import STREAMS_ONLY, Command, store_record

pytestmark = pytest.mark.slow

S = Token("s")


@dataclass
class Followed:
    """What was told so far."""

    told: list[Told] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [each for each in self.told if isinstance(each, Record)]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [chunk for record in self.records for chunk in record.chunks]

    @property
    def text(self) -> str:
        return "".join(chunk["chunk"] for chunk in self.chunks)

    @property
    def notices(self) -> list[str]:
        return [each.what for each in self.told if isinstance(each, Notice)]

    def finals(self) -> int:
        return sum(chunk["is_final"] for chunk in self.chunks)


@asynccontextmanager
async def following(mesh: Mesh, *, from_start: bool = True) -> AsyncIterator[Followed]:
    followed = Followed()

    async def run() -> None:
        async for told in follow(mesh.broker, S, from_start=from_start):
            followed.told.append(told)

    task = asyncio.create_task(run())
    try:
        yield followed
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_session_is_followed_from_its_start_and_on(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "one two", message_id="m1")
            await stream.read_finals()
        async with following(mesh) as followed:
            await eventually(lambda: followed.finals() == 1)
            await post(http, S, "three four", message_id="m2")
            await eventually(lambda: followed.finals() == 2)
            assert followed.chunks == await chunks(nats_client, S)
            assert [each.request["message"] for each in followed.records if each.request] == [
                "one two",
                "three four",
            ]
            offsets = [each.offset for each in followed.records]
            assert offsets == list(range(1, len(offsets) + 1))


async def test_from_now_on_nothing_is_told_that_was_there(broker: Broker) -> None:
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "one two", message_id="m1")
            await stream.read_finals()
        last = await mesh.broker.direct_get.last("CHAT_TRANSCRIPT", "chat.session.s.transcript.m1", seconds=5)
        assert last is not None
        async with following(mesh, from_start=False) as followed:
            number = 1
            while not followed.finals():
                # Nobody says when it has begun to listen, so there may be messages before that.
                number += 1
                await post(http, S, "three", message_id=f"m{number}")
                with suppress(AssertionError):
                    await eventually(followed.finals, timeout=2)
            assert min(each.seq for each in followed.records) > last.seq


async def test_over_deaths_of_the_broker_nothing_is_lost_and_nothing_comes_twice(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as http, following(mesh) as followed:
        await post(http, S, message_id="m", model="count", max_tokens=60, tokens_per_second=20)
        for death in (1, 2):
            seen = len(followed.chunks)
            await eventually(lambda seen=seen: len(followed.chunks) > seen + 5)  # type: ignore[misc]
            broker.kill()
            await eventually(lambda death=death: len(followed.notices) == 2 * death - 1)  # type: ignore[misc]
            await broker.launch()
        await eventually(followed.finals, timeout=30)
        assert [chunk["chunk_id"] for chunk in followed.chunks] == list(range(len(followed.chunks)))
        assert followed.text.split() == [str(number) for number in range(1, 61)]
        assert followed.text == await text(nats_client, S)
        assert [what.partition(":")[0] for what in followed.notices] == [
            "the broker is away",
            "the broker is back",
        ] * 2


async def test_transcript_that_is_made_anew_is_read_from_its_beginning(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.1)
    async with running(broker.url, role=STREAMS_ONLY) as mesh, following(mesh) as followed:
        for number in range(3):
            await store_record(nats_client, S, "old", number + 1, "old")
        await eventually(lambda: len(followed.records) == 3)
        await nats_client.jetstream().delete_stream("CHAT_TRANSCRIPT")
        mesh.broker.streams.doubt()  # so that it is made anew at once
        await eventually(
            lambda: "made anew" in followed.notices[-1] if followed.notices else False, timeout=30
        )
        await store_record(nats_client, S, "new", 1, "new")
        await eventually(lambda: followed.text == "oldoldoldnew")


async def test_what_was_erased_is_not_told_and_what_is_no_record_is_named(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "a secret of hers", message_id="m1")
            await stream.read_finals()
        await http.delete(f"/v1/sessions/{S}")
        await nats_client.jetstream().publish("chat.session.s.transcript.m9", b"\x1b[2J garbage")
        async with following(mesh) as followed:
            await eventually(lambda: any(isinstance(told, Unreadable) for told in followed.told))
            await post(http, S, "anew", message_id="m2")
            await eventually(lambda: followed.text == "anew")
            assert [told.message_id for told in followed.told if isinstance(told, Unreadable)] == ["m9"]
            assert any(record.resets_all for record in followed.records)


async def test_sealed_session_is_opened_with_its_key_ring_and_without_it_that_is_said(
    broker: Broker, tmp_path: Path
) -> None:
    ring = write_ring(tmp_path / "ring.json", ring_of())
    async with (
        running(broker.url, "default_model=echo", sealed(ring)) as mesh,
        client_of(mesh) as http,
        following(mesh) as followed,
    ):
        await post(http, S, "said under seal", message_id="m")
        await eventually(followed.finals)
        assert followed.text == "said under seal"
        other = write_ring(tmp_path / "other.json", ring_of())
        for settings in ((), (sealed(other),)):
            async with running(broker.url, *settings, role=STREAMS_ONLY, id="p2") as stranger:
                with pytest.raises(KeyMissingError):
                    async for _ in follow(stranger.broker, S, from_start=True):
                        pass


async def test_command_without_the_key_is_refused_with_what_to_do(
    chatmesh: Start, broker: Broker, tmp_path: Path
) -> None:
    ring = write_ring(tmp_path / "ring.json", ring_of())
    async with running(broker.url, "default_model=echo", sealed(ring)) as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "said under seal", message_id="m")
            await stream.read_finals()
        code, process = await finished(
            chatmesh, "tail", S, "--from-start", "--set", f"nats.servers={broker.url}"
        )
    assert (code, process.stdout) == (2, "")
    assert "sealing.key_ring" in process.stderr


async def test_command_prints_what_was_said_and_ends_well_with_ctrl_c(
    broker: Broker, command: Command
) -> None:
    """Whatever a terminal would take for an order is shown and not obeyed."""
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "\x1b]0;title\x07 wide\nlines", message_id="m1")
            await stream.read_finals()
        tail = command.begin("tail", S, "--from-start")
        await tail.wait_for_line("-- m1: stop", stream="stdout")
        await post(http, S, "again", message_id="m2")
        await tail.wait_for_line("-- m2: stop", stream="stdout")
        tail.signal(signal.SIGINT)
        assert await tail.wait(timeout=20) == 0, tail.report()
    title = "\\x1b]0;title\\x07 wide"
    lines = tail.stdout.splitlines()
    assert lines[:2] == [f"m1> {title}", "m1> lines"]
    assert lines[2:] == [title, "lines", "-- m1: stop", "m2> again", "again", "-- m2: stop"]
    assert tail.stderr == ""


async def test_command_prints_a_line_for_each_event_as_json(broker: Broker, command: Command) -> None:
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "one two", message_id="m1")
            await stream.read_finals()
        tail = command.begin("tail", S, "--from-start", "--json")
        await tail.wait_for_line('"is_final":true', stream="stdout")
        tail.signal(signal.SIGINT)
        assert await tail.wait(timeout=20) == 0, tail.report()
    lines = [json.loads(line) for line in tail.stdout.splitlines()]
    assert lines[0]["request"]["message"] == "one two"
    assert "".join(line["chunk"]["chunk"] for line in lines[1:]) == "one two"
    assert {line["message_id"] for line in lines} == {"m1"}
    assert [line["offset"] for line in lines] == sorted(line["offset"] for line in lines)


async def test_reader_that_goes_away_ends_it_without_a_word(broker: Broker, tmp_path: Path) -> None:
    async with running(broker.url, "default_model=echo") as mesh, client_of(mesh) as http:
        async with events(http, S) as stream:
            await post(http, S, "one two", message_id="m1")
            await stream.read_finals()
        tail = f"{sys.executable} -m chatmesh tail {S} --from-start --set nats.servers={broker.url}"
        process = await asyncio.create_subprocess_exec(
            *("bash", "-o", "pipefail", "-c", f"{tail} | head -1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"m1> one two\n"
        # It hears of it with what it writes next.
        for number in (2, 3, 4):
            await post(http, S, "more", message_id=f"m{number}")
        async with asyncio.timeout(30):
            _, complaints = await process.communicate()
        assert (process.returncode, complaints) == (1, b"")
