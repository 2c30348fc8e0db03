"""`chatmesh top`: a frame is true, a screen is kept fresh and given back, and a broker that goes away is told."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh.operate import overview as module
from chatmesh.operate.overview import Overview
from tests.chat.terminal import CTRL_C, Terminal
from tests.sealing.support import ring_of, sealed, write_ring
from tests.support.broker import Broker
from tests.support.mesh import Mesh, client_of, running
from tests.support.reading import events, post
from tests.watch.support import SLOW, STREAMS_ONLY, Command, store_claim, store_record


def overview(mesh: Mesh) -> Overview:
    return Overview(mesh.broker, interval_seconds=60, limit=10)


async def test_frame_counts_what_was_written_since_the_one_before(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url, role=STREAMS_ONLY, id="p") as mesh, client_of(mesh) as http:
        await store_claim(nats_client, "s")
        await store_record(nats_client, "s", "m", 1, "before")
        looking = overview(mesh)
        assert (await looking.look()).rates is None
        first = await store_claim(nats_client, "s")
        await store_record(nats_client, "s", "m", 2, "one ", "two ", "")
        await store_claim(nats_client, "s", attempt=1, first=first, handed_over=True)
        await store_claim(nats_client, "s", attempt=2, first=first)
        await nats_client.jetstream().publish("chat.session.s.claim", b"garbage")
        await nats_client.jetstream().publish("chat.session.s.transcript.m", b"garbage")
        await post(http, "t", "a secret of hers", message_id="m")
        frame = await looking.look()
        sample = looking._sample(frame.queue)
        assert (sample.claims, sample.takeovers, sample.tokens) == (4, 1, 2.0)
        assert frame.rates is not None
        assert frame.rates.accepted_per_minute > 0 < frame.rates.takeovers_per_minute
        assert frame.rates.ended_per_minute == 0
        assert [member.heartbeat.id for member in frame.members.members] == ["p"]
        assert [each.session_id for each in frame.queue.requests] == ["t"]
        assert "secret" not in repr(frame)


async def test_of_much_a_part_is_read_and_reckoned_up(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_MESSAGES", 4)
    async with running(broker.url, role=STREAMS_ONLY) as mesh:
        await store_claim(nats_client, "s")
        looking = overview(mesh)
        await looking.look()
        for number in range(20):
            await store_record(nats_client, "s", "m", number + 1, "a", "b")
        frame = await looking.look()
        assert looking._sample(frame.queue).tokens == 40.0
        await store_record(nats_client, "s", "m", 21, "a")
        frame = await looking.look()
        assert looking._sample(frame.queue).tokens == 41.0, "nothing is read twice, nothing is left out"


async def test_tokens_of_a_sealed_mesh_are_told_with_its_keys_only(broker: Broker, tmp_path: Path) -> None:
    ring = write_ring(tmp_path / "ring.json", ring_of())
    async with (
        running(broker.url, "default_model=echo", sealed(ring)) as mesh,
        running(broker.url, role=STREAMS_ONLY, id="stranger") as stranger,
        client_of(mesh) as http,
    ):
        both = [overview(mesh), overview(stranger)]
        async with events(http, "s") as stream:
            for number in (1, 2):
                await post(http, "s", "one two", message_id=f"m{number}")
                await stream.read_finals(number)
                for looking in both:
                    await looking.look()
        own, strange = [looking._sample((await looking.look()).queue).tokens for looking in both]
        assert (own, strange) == (2.0, None)


async def test_command_prints_one_frame_where_nobody_looks(broker: Broker, command: Command) -> None:
    async with running(broker.url, id="w1") as mesh, client_of(mesh) as http, events(http, "s") as stream:
        await post(http, "s", "a secret of hers", message_id="m", **SLOW)
        await stream.read(2)
        shown, answer = await asyncio.gather(command.text("top"), command.json("top"))
        await http.delete("/v1/sessions/s/messages/m")
        await stream.read_finals()
    assert "1 pod and 1 worker alive." in shown
    assert "running" in shown
    assert "tokens/s" in shown
    assert "\x1b" not in shown
    assert {each["role"] for each in answer["members"]} == {"pod", "worker"}
    assert [each["message_id"] for each in answer["queue"]["requests"]] == ["m"]
    assert answer["rates"]["tokens_per_second"] > 0
    assert "secret" not in shown + json.dumps(answer)


@pytest.mark.slow
@pytest.mark.parametrize("leave", [CTRL_C, signal.SIGTERM])
async def test_screen_is_kept_fresh_over_a_death_of_the_broker_and_given_back(
    broker: Broker, terminal: Callable[..., Terminal], leave: str | signal.Signals
) -> None:
    settings = ("--set", f"nats.servers={broker.url}", "--set", "heartbeat.interval_seconds=1")
    async with running(broker.url, id="w1") as mesh, client_of(mesh) as http:
        top = terminal("top", *settings, rows=30, columns=120)
        await top.see("1 pod and 1 worker alive")
        async with events(http, "s") as stream:
            await post(http, "s", message_id="m7", **SLOW)
            await stream.read(2)
            assert "m7" in await top.see("running")  # it may be seen before a worker has it
            await http.delete("/v1/sessions/s/messages/m7")
            await stream.read_finals()
        await top.see("0 messages unanswered")
        broker.kill()
        assert "w1" in await top.see("The broker is away")
        await broker.launch()
        await top.see("Ctrl-C leaves")
        broker.pause()
        # Which question meets the silence is chance, and each has words of its own for it.
        assert re.search(
            r"away for .*: (JetStream does not answer|it did not answer within)", await top.see("is away for")
        )
        broker.resume()
        await top.see("Ctrl-C leaves")
        await top.see("1 pod and 1 worker alive")
        if isinstance(leave, str):
            top.type(leave)
        else:
            top.signal(leave)
        assert await top.end() == 0
        assert top.written.startswith("\x1b[?1049h")
        assert top.written.count("\x1b[?1049l") == 1
        assert top.written.rfind("\x1b[?25h") > top.written.rfind("\x1b[?25l")
        assert top.screen.strip() == "", "what was there before is there again"
        assert top.has_echo


@pytest.mark.slow
async def test_broker_that_is_away_from_the_start_is_exit_3_on_a_clean_terminal(
    terminal: Callable[..., Terminal], broker: Broker
) -> None:
    broker.kill()
    top = terminal("top", "--set", f"nats.servers={broker.url}", "--set", "nats.connect_seconds=1")
    assert await top.end() == 3
    assert "\x1b[?1049h" not in top.written
