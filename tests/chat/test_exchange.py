"""What becomes of an exchange when pods or the person go away, with pods that say what a test tells them to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from chatmesh.cli.talk import exchange as module
from chatmesh.cli.talk.exchange import Exchange
from chatmesh.client import Client, Fate
from chatmesh.errors import Exit, UnansweredError
from tests.client.scripted import HOLD, Pod, answer, event, pods, stream, torn
from tests.support.waiting import eventually

ACCEPTED = answer(202, {"message_id": "m"})
PATIENCE_SECONDS = 20.0
SOON = "id: p\nretry: 1\n\n"


class Seen:
    """A view that remembers what it was told, as (what, text)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def begin(self) -> None:
        self.told.append(("begin", ""))

    def say(self, text: str) -> None:
        self.told.append(("say", text))

    def think(self, text: str) -> None:
        self.told.append(("think", text))

    def call(self, line: str) -> None:
        self.told.append(("call", line))

    def anew(self, line: str) -> None:
        self.told.append(("anew", line))

    def note(self, line: str) -> None:
        self.told.append(("note", line))

    def end(self) -> None:
        self.told.append(("end", ""))


async def nothing(_: Pod) -> None:
    return


async def run(
    pod: Pod,
    client: Client,
    *,
    view: Seen | None = None,
    meanwhile: Callable[[Pod], Awaitable[None]] = nothing,
    lost_seconds: float | None = None,
) -> tuple[Exchange, UnansweredError | None]:
    """To its end."""
    exchange = Exchange(client, view or Seen(), [pod.url], "s", "m", lost_seconds=lost_seconds)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(_watch(pod, meanwhile))
        error = await exchange.run("hello", {})
    return exchange, error


async def _watch(pod: Pod, meanwhile: Callable[[Pod], Awaitable[None]]) -> None:
    await meanwhile(pod)


async def press(pod: Pod, *, asked: int = 2) -> None:
    """Ctrl-C, once the pod was asked so often."""
    await eventually(lambda: len(pod.asked) == asked)
    os.kill(os.getpid(), signal.SIGINT)


async def press_twice(pod: Pod) -> None:
    await press(pod)
    await press(pod, asked=3)


async def test_answer_that_no_pod_serves_any_more_is_given_up_with_the_way_back() -> None:
    script = [ACCEPTED, torn(SOON, event(0)), answer(503)]
    async with pods(script) as (pod,), Client([pod.url]) as client:
        exchange, error = await run(pod, client, lost_seconds=0.3)
    assert error is not None
    assert (error.code, error.exit_code, exchange.fate) == ("unreachable", Exit.BROKER, Fate.ACCEPTED)
    assert "--session s --message-id m" in str(error)


async def test_short_loss_is_not_worth_a_word_and_a_longer_one_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 3600.0)
    view = Seen()
    short = [ACCEPTED, torn(SOON, event(0)), stream(SOON, event(1, is_final=True))]
    async with pods(short) as (pod,), Client([pod.url]) as client:
        exchange, error = await run(pod, client, view=view)
    assert (error, exchange.reconnects, view.told) == (None, 1, [])

    monkeypatch.setattr(module, "TELL_SECONDS", 0.0)
    longer = [ACCEPTED, torn(SOON, event(0)), answer(503), answer(503), stream(SOON, event(1, is_final=True))]
    async with pods(longer) as (pod,), Client([pod.url]) as client:
        _, error = await run(pod, client, view=view)
    assert error is None
    assert view.told == [("note", "reconnecting…"), ("note", "resumed at chunk 1")]


async def test_ctrl_c_before_the_message_is_accepted_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCEPT_SECONDS", 0.1)
    script = [answer(503), HOLD, answer(404, {"code": "unknown_session"})]
    async with pods(script) as (pod,), Client([pod.url]) as client:
        exchange, error = await run(pod, client, meanwhile=press)
    assert (error, exchange.is_interrupted) == (None, True)
    assert exchange.told_stop == "nothing was asked: session s, message m"
    assert [each.path for each in pod.asked][-1] == "/v1/sessions/s/messages/m"


async def test_ctrl_c_while_the_message_is_on_its_way_waits_for_it_to_be_accepted_and_stops_it() -> None:
    """It is not left to be answered for nobody."""
    script = [answer(503), ACCEPTED, answer(503)]
    async with pods(script) as (pod,), Client([pod.url]) as client:
        exchange, error = await run(pod, client, meanwhile=partial(press, asked=1))
    assert (exchange.is_interrupted, exchange.fate) == (True, Fate.ACCEPTED)
    assert "/v1/sessions/s/messages/m" in [each.path for each in pod.asked]
    assert error is not None
    assert "not stopped" in str(error)


async def test_answer_that_can_not_be_stopped_is_said_to_go_on() -> None:
    script = [
        ACCEPTED,
        stream(SOON, event(0), hold=True),
        answer(503, {"code": "broker_away", "detail": "Away."}),
    ]
    async with pods(script) as (pod,), Client([pod.url]) as client:
        exchange, error = await run(pod, client, meanwhile=press)
    assert error is not None
    assert (error.code, exchange.told_stop) == ("broker_away", "")
    assert "not stopped: Away" in str(error)
    assert "--session s --message-id m" in str(error)


async def test_second_ctrl_c_leaves_at_once() -> None:
    script = [ACCEPTED, stream(SOON, event(0), hold=True), HOLD]
    async with pods(script) as (pod,), Client([pod.url]) as client:
        _, error = await run(pod, client, meanwhile=press_twice)
    assert error is not None
    assert error.code == "left"
