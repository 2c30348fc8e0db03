"""All of them beside a mesh of real processes, one of which dies in mid-answer."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest
from nats.aio.client import Client

from tests.faults.support import start_pod, start_worker
from tests.operate.support import Start
from tests.support.broker import Broker
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.watch.support import Command


@pytest.mark.slow
async def test_death_of_a_worker_is_seen_and_the_answer_is_followed_over_it(
    broker: Broker, nats_client: Client, chatmesh: Start, command: Command
) -> None:
    workers = {id: await start_worker(chatmesh, nats_client, broker.url, id) for id in ("w1", "w2")}
    pod = await start_pod(chatmesh, broker.url, "p1")
    tail = command.begin("tail", "s", "--from-start")
    async with pod.client() as http, events(http, "s") as stream:
        await post(http, "s", message_id="m", model="count", max_tokens=150, tokens_per_second=10)
        await stream.read(5)
        (before,) = (await command.json("sessions"))["sessions"]
        assert (before["state"], before["pods"], before["claim"]["attempt"]) == ("running", ["p1"], 1)
        first = before["claim"]["worker_id"]
        workers[first].kill()

        async def taken_over() -> Any:
            (request,) = (await command.json("queue"))["requests"]
            return request if request["attempt"] == 2 and request["deliveries"] else None

        request = await eventually(taken_over, timeout=30)
        assert (request["stage"], request["worker_id"]) == ("running", ({"w1", "w2"} - {first}).pop())

        async def is_silent() -> bool:
            members = (await command.json("ps"))["members"]
            return {each["id"]: each["state"] for each in members}[first] == "silent"

        await eventually(is_silent, timeout=30)
        await stream.read_finals()
    await tail.wait_for_line("-- m: stop", stream="stdout")
    tail.signal(signal.SIGINT)
    assert await tail.wait(timeout=20) == 0, tail.report()
    assert "-- m goes on, attempt 2" in tail.stdout
    answer = re.sub("^(m>|--).*", "", tail.stdout, flags=re.MULTILINE)
    assert answer.split() == [str(number) for number in range(1, 151)]
