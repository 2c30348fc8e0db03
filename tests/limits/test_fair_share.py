"""While the mesh is busy, one who floods it is refused, others are not, and nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker.backlog import Backlog
from chatmesh.errors import BrokerUnreachableError
from chatmesh.ingress import InFlight, Limits
from chatmesh.ingress.limits import LimitSettings
from chatmesh.protocol.callers import Caller, Scope
from chatmesh.protocol.tokens import Token
from chatmesh.providers import Prompt, Resume
from tests.auth.support import STREAM, asking, bearer, token
from tests.limits.test_callers import limited, refused, say
from tests.support.broker import Broker
from tests.support.waiting import eventually

OPEN: dict[str, asyncio.Event] = {}
"""What `held` waits for, by the session's message."""

HELD = f"models={{held: {{provider: python, function: '{__name__}:held'}}}}"


async def held(prompt: Prompt, resume: Resume) -> AsyncIterator[str]:
    """Says one word, and the other one when it may."""
    yield "one "
    await OPEN[prompt.message].wait()
    yield "two"


def busy(answer: httpx.Response) -> bool:
    return refused(answer, "mesh_busy")


async def queue(nats: Client, session_id: str) -> None:
    """As somebody else's pod does it."""
    request = {"message_id": "m", "session_id": session_id, "message": "hi", "context": {}}
    await nats.jetstream().publish(f"chat.workflow.execute.{session_id}", json.dumps(request).encode())


async def answer_of(client: httpx.AsyncClient, user: str, session: str, tenant: str) -> tuple[str, str]:
    """Status and text of the session's message `m`."""
    path = f"/v1/sessions/{session}/messages/m"
    row = (await client.get(path, headers=bearer(token(user, tenant=tenant)))).json()
    return row["status"], row["content"]


async def test_noisy_tenant_is_refused_and_a_quiet_one_is_answered(broker: Broker) -> None:
    """The one alone gets as many slots as make a busy mesh; the fifth is for whoever has less than their share."""
    before = limited("busy_answers")
    OPEN["flood"] = asyncio.Event()
    sessions = [f"n{number}" for number in range(12)]
    settings = (HELD, "limits.busy_answers=4", "worker.concurrency=5")
    async with asking(broker.url, *settings) as (_, client):

        async def shout(session: str) -> httpx.Response:
            more = {"message": "flood", "message_id": "m", "context": {"model": "held"}}
            return await say(client, "noisy", session, tenant="loud", **more)

        floods = [await shout(session) for session in sessions]
        assert [busy(answer) for answer in floods] == [False] * 4 + [True] * 8
        assert limited("busy_answers") >= before + 8
        quiet = await client.post(
            "/v1/sessions/q/messages",
            json={"message": "quiet words", "context": {"model": "echo"}},
            headers=bearer(token("quiet", tenant="soft")) | STREAM,
        )
        assert '"finish_reason":"stop"' in quiet.text
        # What was accepted is known by its name, also now; what was refused is not there, and nobody's.
        again = await shout("n0")
        assert (again.status_code, again.json()["duplicate"]) == (202, True)
        assert busy(await shout("n4"))
        mine = bearer(token("noisy", tenant="loud"))
        assert (await client.get("/v1/sessions/n4/messages", headers=mine)).status_code == 404

        async def have_begun() -> bool:
            answers = [await answer_of(client, "noisy", name, "loud") for name in sessions[:4]]
            return answers == [("running", "one ")] * 4

        await eventually(have_begun)
        OPEN["flood"].set()

        async def have_ended() -> bool:
            answers = [await answer_of(client, "noisy", name, "loud") for name in sessions[:4]]
            return answers == [("done", "one two")] * 4

        await eventually(have_ended)

        async def is_taken_again() -> bool:
            return not busy(await shout("n4"))

        await eventually(is_taken_again)


@pytest.mark.slow
async def test_everybody_is_answered_while_one_tenant_floods_two_pods(broker: Broker) -> None:
    """Slow answers, and ten clients of the noisy tenant that never stop to ask."""
    settings = ("limits.busy_answers=4", "worker.concurrency=4")
    count = {"model": "count", "max_tokens": 20, "tokens_per_second": 40}
    accepted: list[str] = []
    statuses: Counter[int] = Counter()
    async with (
        asking(broker.url, *settings, id="one") as (_, one),
        asking(broker.url, *settings, role="pod", id="two") as (_, two),
    ):
        quiet_has_ended = asyncio.Event()

        async def shout(name: str, client: httpx.AsyncClient) -> None:
            number = 0
            while not quiet_has_ended.is_set():
                session, number = f"{name}-{number}", number + 1
                answer = await say(client, "noisy", session, tenant="loud", message_id="m", context=count)
                statuses[answer.status_code] += 1
                if not busy(answer):
                    accepted.append(session)
                # Nothing is waited for: a flood of a hundred a second, and not of as much as the test's own loop can do.
                await asyncio.sleep(0.01)

        async def speak() -> None:
            for number in range(8):
                answer = await say(two, "quiet", f"q{number}", tenant="soft", message_id="m", context=count)
                assert answer.status_code == 202, answer.text

                async def has_ended(session: str = f"q{number}") -> bool:
                    return (await answer_of(one, "quiet", session, "soft"))[0] == "done"

                await eventually(has_ended, timeout=60)
            quiet_has_ended.set()

        async with asyncio.TaskGroup() as talks:
            for number in range(10):
                talks.create_task(shout(f"n{number}", (one, two)[number % 2]))
            await eventually(lambda: statuses[429] > 0)
            talks.create_task(speak())
        assert statuses[429] > 0
        whole = "".join(f"{number} " for number in range(1, 21))

        async def have_ended() -> bool:
            answers = [await answer_of(one, "noisy", session, "loud") for session in accepted]
            return all(answer == ("done", whole) for answer in answers)

        await eventually(have_ended, timeout=60)


async def test_shares_are_of_what_is_in_the_whole_mesh_and_go_to_users_too(broker: Broker) -> None:
    """Without a worker everything waits, so what is there is exact."""
    limit = "limits.busy_answers=4"
    async with (
        asking(broker.url, limit, role="pod", id="one") as (_, one),
        asking(broker.url, limit, role="pod", id="two") as (_, two),
    ):
        first = [await say(one, "alice", f"a{number}") for number in range(6)]
        assert [busy(answer) for answer in first] == [False] * 4 + [True] * 2

        async def is_seen_there() -> bool:
            return busy(await say(two, "alice", "a0"))

        await eventually(is_seen_there)
        # Another user of the tenant: half of its share, of two.
        second = [await say(one, "bob", f"b{number}") for number in range(3)]
        assert [busy(answer) for answer in second] == [False] * 2 + [True]
        # Another tenant: half of what makes the mesh busy.
        other = [await say(one, "carol", f"c{number}", tenant="other") for number in range(3)]
        assert [busy(answer) for answer in other] == [False] * 2 + [True]
        openai = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        answer = await one.post("/v1/chat/completions", json=openai, headers=bearer(token("alice")))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "mesh_busy")


async def test_what_others_queue_on_nats_is_one_tenants_too(broker: Broker, nats_client: Client) -> None:
    async with asking(broker.url, "limits.busy_answers=4", role="pod") as (_, client):
        for number in range(5):
            await queue(nats_client, f"f{number}")
        answers = [await say(client, "alice", f"a{number}") for number in range(3)]
        assert [busy(answer) for answer in answers] == [False] * 2 + [True]


LOUD, SOFT = (Caller(tenant, "u", frozenset(Scope)) for tenant in ("loud", "soft"))
S = [Token(f"s{number}") for number in range(50)]


def in_flight_of(mesh: Mesh) -> InFlight:
    """For which no time passes: it looks once, and when it is told to."""
    return InFlight(Backlog(mesh.broker.api), mesh.broker.cards, clock=lambda: 0.0)


def limits_of(mesh: Mesh) -> Limits:
    return Limits(LimitSettings(10_000, busy_answers=4), in_flight_of(mesh))


async def test_of_many_at_once_no_more_get_in_than_of_many_in_a_row(broker: Broker) -> None:
    """Nothing of theirs is in the queue yet, and those that are to be refused have it looked at again."""
    async with asking(broker.url, role="pod") as (mesh, _):
        limits = limits_of(mesh)
        places = await asyncio.gather(*(limits.place(LOUD, session) for session in S))
        assert sum(place.refusal is None for place in places) == 4
        assert (await limits.place(SOFT, Token("q"))).refusal is None


async def test_place_that_was_not_needed_is_free_again(broker: Broker) -> None:
    """The message was not accepted, or had been before."""
    async with asking(broker.url, role="pod") as (mesh, _):
        limits = limits_of(mesh)
        with ExitStack() as stack:
            places = [stack.enter_context(await limits.place(LOUD, session)) for session in S[:5]]
            assert [place.refusal is None for place in places] == [True] * 4 + [False]
            places[0].keep()
        again = [(await limits.place(LOUD, session)).refusal is None for session in S[5:9]]
        # The one that was kept is in no queue here, so the look before the refusal has missed it.
        assert again == [True] * 4
        assert (await limits.place(LOUD, S[9])).refusal is not None


async def test_message_on_its_way_counts_once(broker: Broker, nats_client: Client) -> None:
    """On its way and in the queue, or on its way and not there yet, whatever a look has seen of it."""
    async with asking(broker.url, role="pod") as (mesh, _):
        in_flight = in_flight_of(mesh)

        async def count() -> int:
            return (await in_flight.load("loud", "u")).of_tenant

        assert await count() == 0
        stored, lost = (in_flight.add(session, "loud", "u") for session in S[:2])
        await mesh.broker.ownership.begin(LOUD, S[0])
        await queue(nats_client, S[0])
        assert await count() == 2
        await in_flight.look_again()
        assert await count() == 2
        in_flight.came(stored)
        in_flight.left(lost)
        assert await count() == 1
        await in_flight.look_again()
        assert await count() == 1


async def test_whoever_has_it_looked_at_again_sees_what_was_there_when_they_asked(
    broker: Broker, nats_client: Client
) -> None:
    async with asking(broker.url, role="pod") as (mesh, _):
        in_flight = in_flight_of(mesh)
        assert (await in_flight.load("", "")).total == 0

        async def ask() -> int:
            await in_flight.look_again()
            return (await in_flight.load("", "")).total

        asked = []
        for session in S[:10]:
            await queue(nats_client, session)
            asked.append(asyncio.create_task(ask()))
        totals = await asyncio.gather(*asked)
        assert all(total >= least for least, total in enumerate(totals, start=1)), totals


async def test_a_look_that_failed_is_nobodys_answer(broker: Broker) -> None:
    async with asking(broker.url, role="pod") as (mesh, _):
        in_flight = in_flight_of(mesh)
        assert (await in_flight.load("", "")).total == 0
        broker.stop()
        answers = await asyncio.gather(*(in_flight.look_again() for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [BrokerUnreachableError] * 3
