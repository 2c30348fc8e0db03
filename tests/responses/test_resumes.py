"""A response that was cut goes on after any number, at any pod, in any format; also when its worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.protocol.openai_ids import response_id
from chatmesh.protocol.openai_responses import ATTEMPT
from chatmesh.protocol.tokens import Token
from tests.faults.support import ACK_WAIT, PATIENCE_SECONDS, StartProcess, claims, count_text, start_worker
from tests.responses.support import Heard, openai_of
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.models import HELD_TOKENS, gate, models, text
from tests.support.processes import Process
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODELS = models("restarting")
TOKENS = 200


@pytest.fixture
async def pod(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, ACK_WAIT, role="pod", id="pod") as mesh:
        yield mesh


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None
    return mesh.server.url


async def test_cut_at_every_number_and_resumed_at_another_pod_is_the_whole(broker: Broker) -> None:
    async with (
        running(broker.url, id="one") as one,
        running(broker.url, id="two", role="pod") as two,
        openai_of(url_of(one)) as here,
        openai_of(url_of(two)) as there,
    ):
        stream = await here.responses.create(model="echo", input="one two three four", stream=True)
        whole = await Heard().follow(stream)
        id = whole.events[0].response.id
        for number in whole.numbers:
            heard = await Heard().follow(await here.responses.retrieve(id, stream=True), number + 1)
            assert heard.numbers[-1] == number
            await heard.follow(await there.responses.retrieve(id, stream=True, starting_after=number))
            assert heard.told == whole.told


async def test_cut_in_mid_answer_again_and_again_is_the_whole(broker: Broker) -> None:
    """The connection is reset while the answer comes; each time the client goes on after what it has."""
    async with (
        running(broker.url, "demo.tokens_per_second=400") as mesh,
        FaultProxy(int(url_of(mesh).rpartition(":")[2])) as proxy,
        openai_of(f"http://127.0.0.1:{proxy.port}") as client,
    ):
        stream = await client.responses.create(
            model="count", input="go", max_output_tokens=TOKENS, stream=True
        )
        heard = await Heard().follow(stream, 10)
        id, cuts = heard.events[0].response.id, 0
        while heard.types[-1] != "completed":
            proxy.cut()
            cuts += 1
            stream = await client.responses.retrieve(id, stream=True, starting_after=heard.numbers[-1])
            await heard.follow(stream, 30)
        assert cuts > 3
        assert heard.numbers == list(range(len(heard.numbers)))
        assert heard.text == count_text(TOKENS)


async def start(chatmesh: StartProcess, client: Client, broker: Broker, id: str, *settings: str) -> Process:
    """A worker process that can import the tests' models."""

    def begin(*arguments: str) -> Process:
        return chatmesh(*arguments, env={"PYTHONPATH": str(ROOT)})

    return await start_worker(begin, client, broker.url, id, MODELS, *settings)


async def test_response_goes_on_when_its_worker_is_killed(
    broker: Broker, pod: Mesh, nats_client: Client, chatmesh: StartProcess
) -> None:
    pace = "demo.tokens_per_second=40"
    worker = await start(chatmesh, nats_client, broker, "w1", pace)
    async with openai_of(url_of(pod)) as client:
        stream = await client.responses.create(
            model="count", input="go", max_output_tokens=TOKENS, stream=True
        )

        async def replace() -> None:
            worker.kill()
            await start(chatmesh, nats_client, broker, "w2", pace)

        heard = await Heard().follow_past(stream, 50, replace)
        assert heard.types[-1] == "completed"
        assert heard.numbers == list(range(len(heard.numbers)))
        assert heard.text == count_text(TOKENS)
        session_id, message_id = ids_of(heard)
        assert len(await claims(nats_client, session_id, message_id)) == 2


def ids_of(heard: Heard) -> tuple[str, str]:
    _, _, rest = heard.events[0].response.id.split("_", 2)
    session_id, message_id = rest.split("_msg_")
    return session_id, f"msg_{message_id}"


async def test_answer_that_begins_anew_cuts_the_stream_and_begins_anew_after_any_number(
    broker: Broker, pod: Mesh, nats_client: Client, chatmesh: StartProcess
) -> None:
    """The model can't go on behind what was shown. No text of the first attempt may be taken for the second one's."""
    worker = await start(chatmesh, nats_client, broker, "w1")
    async with openai_of(url_of(pod)) as client:
        stream = await client.responses.create(model="restarting", input="go", stream=True)

        async def replace() -> None:
            worker.kill()
            await start(chatmesh, nats_client, broker, "w2")

        heard = Heard()
        with pytest.raises(openai.APIConnectionError):
            await heard.follow_past(stream, 10, replace)
        id, seen = heard.events[0].response.id, heard.numbers[-1]
        again = await Heard().follow(await client.responses.retrieve(id, stream=True, starting_after=seen))
        assert again.types[0] == "created"
        assert again.numbers == list(range(ATTEMPT, ATTEMPT + len(again.numbers)))
        assert again.text == text(attempt=2)
        whole = await Heard().follow(await client.responses.retrieve(id, stream=True))
        assert whole.told == again.told
        assert (await client.responses.retrieve(id)).output_text == text(attempt=2)


async def test_response_is_read_natively_and_what_is_said_natively_is_a_response(broker: Broker) -> None:
    async with (
        running(broker.url, "demo.tokens_per_second=200") as mesh,
        openai_of(url_of(mesh)) as client,
        client_of(mesh) as http,
    ):
        named = {"X-Session-Id": "s"}
        begun = await client.responses.create(
            model="count", input="go", max_output_tokens=50, background=True, extra_headers=named
        )
        async with events(http, "s", **{"from": "start"}) as stream:
            assert (await stream.read_finals()).text == count_text(50)
        assert (await client.responses.retrieve(begun.id)).output_text == count_text(50)

        await post(http, "s", model="count", max_tokens=50, message_id="m")
        id = response_id(Token("s"), Token("m"))
        heard = await Heard().follow(await client.responses.retrieve(id, stream=True))
        assert heard.text == count_text(50)
        assert heard.events[-1].response.max_output_tokens == 50


async def test_response_begun_here_is_resumed_as_a_vercel_stream(broker: Broker) -> None:
    go_on = gate()
    async with (
        running(broker.url, models("held")) as mesh,
        openai_of(url_of(mesh)) as client,
        client_of(mesh) as http,
    ):
        named = {"X-Session-Id": "s"}
        await client.responses.create(model="held", input="go", background=True, extra_headers=named)

        async def resumed() -> str:
            async with http.stream("GET", "/api/chat/s/stream") as answer:
                if answer.status_code == 200:
                    go_on.set()
                return (await answer.aread()).decode()

        told = await eventually(resumed, timeout=PATIENCE_SECONDS)
        assert told.count('"type":"text-delta"') == HELD_TOKENS
        assert '"finishReason":"stop"' in told


async def test_pod_that_leaves_before_a_whole_answer_says_that_it_goes_on(broker: Broker) -> None:
    async with running(broker.url, "demo.tokens_per_second=20", role="worker", id="w"):
        async with running(broker.url, role="pod", id="p") as pod, openai_of(url_of(pod)) as client:
            asking = client.responses.create(
                model="count", input="go", max_output_tokens=60, extra_headers={"X-Session-Id": "s"}
            )
            async with client_of(pod) as http:
                task = asyncio.ensure_future(asking)

                async def is_known() -> bool:
                    return (await http.get("/v1/sessions/s/messages")).status_code == 200

                await eventually(is_known)
                pod.tree.drain()
                with pytest.raises(openai.InternalServerError) as raised:
                    await task
        assert raised.value.code == "answer_unfinished"
        assert "resp_1_s_" in raised.value.message
        assert "x-should-retry" not in raised.value.response.headers, "a retry is recognised by another pod"
