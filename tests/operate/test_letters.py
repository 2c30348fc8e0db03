"""`chatmesh dlq`: every dead letter can be seen, queued once more without a second answer, and removed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.operate import letters
from chatmesh.protocol.tokens import Token
from tests.operate.support import Start, finished
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import post
from tests.support.stored import Stored, queued, stored
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

GARBAGE = b'{"message": "a secret of hers", \x1b[2J\xff'


@pytest.fixture
async def mesh(broker: Broker) -> AsyncIterator[Mesh]:
    async with running(broker.url, "default_model=echo", "worker.ack_wait_seconds=1") as mesh:
        yield mesh


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(mesh) as client:
        yield client


def request(message_id: str = "m", session_id: str = "s") -> bytes:
    wire = {"message_id": message_id, "session_id": session_id, "message": "one two", "context": {}}
    return json.dumps(wire | {"user_id": "", "timestamp": "", "correlation_id": "corr_1"}).encode()


async def letters_of(client: Client, session_id: str = "*") -> list[Stored]:
    return await stored(client, "CHAT_DEAD_LETTERS", f"chat.dead.{session_id}")


async def one_letter(client: Client, session_id: str = "s") -> Stored:
    """Once a worker has made it."""
    found: list[Stored] = await eventually(lambda: letters_of(client, session_id))
    assert len(found) == 1
    return found[0]


async def exhausted(client: Client) -> Stored:
    """The letter of a message whose workers all died: five claims of a worker that is no more, then a real one."""
    claim = {
        "session_id": "s",
        "message_id": "m",
        "worker_id": "gone",
        "boot": "b",
        "nonce": "n",
        "attempt": 5,
    }
    claim |= {"base": 0, "first": 0, "offset": 0, "timestamp": "", "erases": False}
    js = client.jetstream()
    await js.publish("chat.session.s.claim", json.dumps(claim).encode())
    await js.publish("chat.workflow.execute.s", request())
    letter = await one_letter(client)
    await wait_worked_off(client)
    return letter


async def wait_worked_off(client: Client) -> None:
    async def is_empty() -> bool:
        return not await queued(client, "s")

    await eventually(is_empty)


async def rows_of(http: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    """Status and text of each answer in the history."""
    answer = await http.get("/v1/sessions/s/messages")
    if answer.status_code == 404:
        return {}
    return {
        row["message_id"]: (row["status"], row["content"])
        for row in answer.json()["messages"]
        if row["role"] == "assistant"
    }


class Dlq:
    """The command against one broker."""

    def __init__(self, start: Start, url: str, *settings: str) -> None:
        self._start = start
        self._settings = [
            part for setting in (f"nats.servers={url}", *settings) for part in ("--set", setting)
        ]

    async def text(self, *arguments: str) -> tuple[int, str, str]:
        code, process = await finished(self._start, "dlq", *arguments, *self._settings)
        return code, process.stdout, process.stderr

    async def json(self, *arguments: str) -> dict[str, Any]:
        code, out, err = await self.text(*arguments, "--json")
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer


@pytest.fixture
def dlq(chatmesh: Start, broker: Broker) -> Dlq:
    return Dlq(chatmesh, broker.url)


@pytest.mark.usefixtures("mesh")
async def test_undecodable_request_is_listed_without_its_text_and_shown_whole(
    dlq: Dlq, nats_client: Client
) -> None:
    await nats_client.jetstream().publish("chat.workflow.execute.s", GARBAGE)
    letter = await one_letter(nats_client)
    code, out, _ = await dlq.text("list")
    assert code == 0
    assert out.splitlines()[1].split()[0] == str(letter.seq)
    assert "(undecodable)" in out
    assert "not valid JSON" in out
    assert out.endswith("1 dead letters.\n")
    assert "secret" not in out
    code, out, _ = await dlq.text("show", str(letter.seq))
    assert code == 0
    assert "Chatmesh-Reason: WorkflowRequest is not valid JSON" in out
    assert r"a secret of hers" in out
    assert "\x1b" not in out
    answer = await dlq.json("show", str(letter.seq))
    assert base64.b64decode(answer["body_base64"]) == GARBAGE
    assert (answer["session_id"], answer["message_id"], answer["request"]) == ("s", None, None)
    assert answer["headers"] == letter.headers


@pytest.mark.usefixtures("mesh")
async def test_undecodable_request_is_queued_again_exactly_as_it_was(dlq: Dlq, nats_client: Client) -> None:
    """Here nobody can read it still, so it comes back as another letter."""
    await nats_client.jetstream().publish("chat.workflow.execute.s", GARBAGE)
    letter = await one_letter(nats_client)
    code, out, _ = await dlq.text("retry", str(letter.seq))
    assert code == 0
    assert "exactly as it was" in out

    async def is_back() -> bool:
        found = await letters_of(nats_client)
        return [again.data for again in found if again.seq != letter.seq] == [GARBAGE]

    await eventually(is_back)
    assert letter.seq not in {again.seq for again in await letters_of(nats_client)}


async def test_request_that_an_older_worker_could_not_read_is_answered_under_its_own_id(
    dlq: Dlq, http: httpx.AsyncClient, nats_client: Client
) -> None:
    ack = await nats_client.jetstream().publish(
        "chat.dead.s", request(), headers={"Chatmesh-Reason": "too new"}
    )
    answer = await dlq.json("retry", str(ack.seq))
    assert answer == {
        "seq": ack.seq,
        "session_id": "s",
        "message_id": "m",
        "retry_of": None,
        "duplicate": False,
    }

    async def is_answered() -> bool:
        return await rows_of(http) == {"m": ("done", "one two")}

    await eventually(is_answered)
    assert not await letters_of(nats_client)


async def test_message_that_ended_with_an_error_is_answered_as_a_new_one(
    dlq: Dlq, http: httpx.AsyncClient, nats_client: Client
) -> None:
    letter = await exhausted(nats_client)
    assert (await dlq.json("list"))["letters"][0]["message_id"] == "m"
    answer = await dlq.json("retry", str(letter.seq))
    new = answer["message_id"]
    assert answer["retry_of"] == "m" != new

    async def is_answered() -> bool:
        rows = await rows_of(http)
        return rows.get(new) == ("done", "one two")

    await eventually(is_answered)
    rows = await rows_of(http)
    assert list(rows) == ["m", new]
    assert rows["m"] == ("failed", "")
    assert not await letters_of(nats_client)


async def test_request_of_a_retry_says_whose_it_is(
    broker: Broker, chatmesh: Start, nats_client: Client
) -> None:
    async with running(broker.url, "worker.ack_wait_seconds=1"):
        letter = await exhausted(nats_client)
    answer = await Dlq(chatmesh, broker.url).json("retry", str(letter.seq))
    (request_again,) = await queued(nats_client, "s")
    assert request_again.headers["Chatmesh-Retry-Of"] == "m"
    assert request_again.body == json.loads(request()) | {"message_id": answer["message_id"]}


async def test_retry_twice_is_one_answer(
    dlq: Dlq, mesh: Mesh, http: httpx.AsyncClient, nats_client: Client
) -> None:
    """At the same moment, after the letter is gone, and where the first one died before it removed the letter."""
    seq = (await exhausted(nats_client)).seq
    first = await letters.queue_again(mesh.broker, await letters.find_letter(mesh.broker, seq))
    await wait_worked_off(nats_client)
    both = await asyncio.gather(*(dlq.text("retry", str(seq)) for _ in range(2)))
    assert any(code == 0 and str(first.message_id) in out for code, out, _ in both), both
    assert all(code == 0 or f"there is no dead letter {seq}" in err for code, _, err in both)
    await wait_worked_off(nats_client)
    assert set(await rows_of(http)) == {"m", first.message_id}
    code, _, err = await dlq.text("retry", str(seq))
    assert code == 1
    assert f"there is no dead letter {seq}" in err


async def test_message_that_is_in_the_queue_still_is_not_queued_twice(
    broker: Broker, chatmesh: Start, nats_client: Client
) -> None:
    """The worker died between the dead letter and the error-final: another one will find that out."""
    async with running(broker.url, role="pod") as pod, client_of(pod) as client:
        await post(client, "s", message_id="m")
        (waiting,) = await queued(nats_client, "s")
        ack = await nats_client.jetstream().publish("chat.dead.s", waiting.data)
        code, _, err = await Dlq(chatmesh, broker.url).text("retry", str(ack.seq))
        assert code == 1
        assert "message m is in the queue still" in err
        assert len(await queued(nats_client, "s")) == 1
        assert len(await letters_of(nats_client)) == 1


@pytest.mark.usefixtures("mesh")
async def test_letters_are_listed_page_by_page_and_by_session(dlq: Dlq, nats_client: Client) -> None:
    js = nats_client.jetstream()
    for number in range(5):
        await js.publish(f"chat.dead.s{number % 2}", b"garbage")
    page = await dlq.json("list", "--limit", "2")
    assert [letter["seq"] for letter in page["letters"]] == [1, 2]
    page = await dlq.json("list", "--limit", "3", "--after", str(page["next"]))
    assert [letter["seq"] for letter in page["letters"]] == [3, 4, 5]
    assert page["next"] is None
    page = await dlq.json("list", "--session", "s1")
    assert [letter["seq"] for letter in page["letters"]] == [2, 4]
    _, out, _ = await dlq.text("list", "--limit", "2")
    assert out.endswith("2 dead letters. There are more: --after 2.\n")


async def test_letters_of_an_erased_session_are_none(
    dlq: Dlq, http: httpx.AsyncClient, nats_client: Client
) -> None:
    letter = await exhausted(nats_client)
    await http.delete("/v1/sessions/s")

    async def is_erased() -> bool:
        return [found.data for found in await letters_of(nats_client)] == [b'{"erased":true}']

    await eventually(is_erased)
    assert (await dlq.json("list"))["letters"] == []
    (tombstone,) = await letters_of(nats_client)
    for seq in (letter.seq, tombstone.seq):
        code, _, err = await dlq.text("show", str(seq))
        assert code == 1
        assert f"there is no dead letter {seq}" in err


@pytest.mark.usefixtures("mesh")
async def test_letter_that_is_dropped_is_gone_and_an_unknown_one_is_told(
    dlq: Dlq, nats_client: Client
) -> None:
    js = nats_client.jetstream()
    await js.publish("chat.dead.s", b"garbage 1")
    await js.publish("chat.dead.s", b"garbage 2")
    code, out, _ = await dlq.text("drop", "1")
    assert code == 0
    assert out == "Dead letter 1 of session s is removed.\n"
    assert [letter.data for letter in await letters_of(nats_client)] == [b"garbage 2"]
    for seq in ("1", "3", "0"):
        code, out, err = await dlq.text("drop", seq)
        assert (code, out) == (1, "")
        assert f"there is no dead letter {seq}" in err
    assert not await queued(nats_client, "s")


async def test_broker_without_the_stream_is_told(dlq: Dlq) -> None:
    code, _, err = await dlq.text("list")
    assert code == 3
    assert "there is no stream CHAT_DEAD_LETTERS" in err


async def test_permission_that_is_missing_is_named_before_anything_is_done(
    chatmesh: Start, tmp_path: Path
) -> None:
    """One after the other is allowed, and each time the next one is named."""
    needed = [
        "$JS.API.STREAM.INFO.*",
        "$JS.API.DIRECT.GET.*",
        "$JS.API.STREAM.MSG.DELETE.CHAT_DEAD_LETTERS",
        "chat.workflow.execute.*",
    ]
    users: list[dict[str, Any]] = [{"user": "deploy", "password": "x"}]
    for count in range(len(needed) + 1):
        allowed = {"publish": {"allow": [*needed[:count], "nothing"]}}
        users.append({"user": f"u{count}", "password": "x", "permissions": allowed})
    broker = await Broker.start(tmp_path, config_extra=f"authorization {json.dumps({'users': users})}\n")
    client = await broker.connect(user="deploy", password="x")
    try:
        async with running(broker.url, "nats.user=deploy", "nats.password=x", role="pod"):
            await client.jetstream().publish("chat.dead.s", b"garbage")
        for count, missing in enumerate(needed):
            dlq = Dlq(chatmesh, broker.url, f"nats.user=u{count}", "nats.password=x")
            code, _, err = await dlq.text("retry", "1")
            assert code == 4
            assert f"may not publish to {missing} at" in err
            assert not await queued(client, "s")
            assert len(await letters_of(client)) == 1
        code, _, err = await Dlq(chatmesh, broker.url, "nats.user=u4", "nats.password=x").text("retry", "1")
        assert code == 0, err
        assert len(await queued(client, "s")) == 1
        assert not await letters_of(client)
    finally:
        await client.close()
        broker.stop()


async def test_unknown_session_name_is_a_mistake_of_usage(dlq: Dlq) -> None:
    code, _, err = await dlq.text("list", "--session", "a.b")
    assert code == 2
    assert "--session" in err


def test_new_id_of_a_letter_is_always_the_same_and_of_another_letter_another() -> None:
    letter = letters.Letter(7, "2026-01-01T00:00:00Z", "s", "", {}, b"", None, None)
    other = letters.Letter(7, "2026-02-01T00:00:00Z", "s", "", {}, b"", None, None)
    ids = [letters._new_id(each) for each in (letter, letter, other)]
    assert ids[0] == ids[1] != ids[2]
    assert Token(ids[0]).startswith("msg_")
