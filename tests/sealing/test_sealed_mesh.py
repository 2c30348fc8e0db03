"""A sealed mesh does all that a mesh does, and nobody at the broker reads a word of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.errors import ProtocolError
from chatmesh.protocol import sealing
from chatmesh.protocol.tokens import Token
from tests.auth.support import HS, bearer, token
from tests.faults.support import dead_letters
from tests.sealing.support import ring_of, sealed, write_ring
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

SECRET = "the-secret-word"
ECHO = "echo"
S = Token("s")


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    return write_ring(tmp_path / "ring.json", ring_of())


async def say(client: httpx.AsyncClient, session: str, text: str = SECRET, message_id: str = "m") -> str:
    """The answer's text."""
    async with events(client, session, message_id=message_id) as stream:
        assert (await post(client, session, text, message_id=message_id, model=ECHO)).status_code == 202
        return (await stream.read_finals()).text


async def everything(client: Client) -> bytes:
    """All bodies and headers of all streams."""
    streams = await client.jetstream().streams_info()
    found = [each for info in streams for each in await stored.stored(client, str(info.config.name), ">")]
    return b"\n".join(each.data + str(each.headers).encode() for each in found)


async def history(client: httpx.AsyncClient, session: str = "s") -> list[str]:
    answer = await client.get(f"/v1/sessions/{session}/messages")
    assert answer.status_code == 200, answer.text
    return [row["content"] for row in answer.json()["messages"]]


@pytest.mark.parametrize("text", ['"' * 480_000, "\\" * 480_000, "\x01" * 150_000, "\u20ac" * 320_000])
async def test_a_word_that_is_longer_in_json_fits_the_brokers_limit_sealed_or_not(
    broker: Broker, nats_client: Client, ring: Path, text: str
) -> None:
    for number, settings in enumerate([(), (sealed(ring),)]):
        session = f"s{number}"
        async with pod_and_client(broker.url, f"p{number}", *settings, role="all") as (_, client):
            assert await say(client, session, text) == text
            rows = await history(client, session)
        # What was asked is kept whole beside the first chunk.
        assert rows == [text, text]


async def test_nobody_at_the_broker_reads_a_word_and_every_reader_reads_all(
    broker: Broker, nats_client: Client, ring: Path
) -> None:
    heard: list[bytes] = []

    async def hear(message: object) -> None:
        heard.append(message.data)  # type: ignore[attr-defined]

    await nats_client.subscribe("chat.>", cb=hear)
    async with (
        running(broker.url, sealed(ring), role="worker"),
        pod_and_client(broker.url, "p1", sealed(ring)) as (_, one),
        pod_and_client(broker.url, "p2", sealed(ring)) as (_, two),
        events(two, "s") as elsewhere,
    ):
        assert await say(one, "s") == SECRET
        # A pod that had no key when the batch came.
        assert (await elsewhere.read_finals()).text == SECRET
        again = await post(two, "s", SECRET, message_id="m", model=ECHO)
        assert (again.status_code, again.json()["duplicate"]) == (202, True)
        other = await post(two, "s", "another", message_id="m", model=ECHO)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
        assert await history(two) == [SECRET, SECRET]
        async with events(two, "s", **{"from": "start"}) as replay:
            assert (await replay.read_finals()).text == SECRET
        listed = (await one.get("/v1/sessions")).json()["sessions"]
        assert [row["session_id"] for row in listed] == ["s"]
        await nats_client.flush()
        kept = await everything(nats_client)
    assert any(sealing.is_sealed(body) for body in heard)
    assert SECRET.encode() not in kept + b"".join(heard)
    assert b'"model":' not in kept, "nor which model was asked for"


async def test_queue_stop_and_conversation_go_on_sealed(broker: Broker, ring: Path) -> None:
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            await post(client, "s", message_id="m1", model="count", tokens_per_second=20)
            await post(client, "s", "behind it", message_id="m2", model=ECHO)
            await post(client, "s", "never", message_id="m3", model=ECHO)
            await stream.read(3)
            for message_id in ("m3", "m1"):
                assert (await client.delete(f"/v1/sessions/s/messages/{message_id}")).status_code == 202
            reading = await stream.read_finals(3)
        ends = {each["message_id"]: each["metadata"]["finish_reason"] for each in reading.finals}
        assert ends == {"m1": "cancelled", "m2": "stop", "m3": "cancelled"}
        rows = (await client.get("/v1/sessions/s/messages")).json()["messages"]
        assert {row["message_id"]: row["status"] for row in rows} == {
            "m1": "stopped",
            "m2": "done",
            "m3": "stopped",
        }


async def test_an_erased_session_is_unreadable_in_every_copy(
    broker: Broker, nats_client: Client, ring: Path
) -> None:
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        await say(client, "s")
        (record, *_) = await stored.records(nats_client, "s")
        sealed_body = sealing.parse(record.data)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        assert await mesh.broker.vault.key(sealed_body.session_id, sealed_body.key_id) is None
        assert b"wrapped" not in await everything(nats_client)
        # The name begins anew, with a key of its own; and what is left of the old life is removed.
        assert await say(client, "s", "another", "m") == "another"

        async def is_overwritten() -> bool:
            return record.data not in await everything(nats_client)

        await eventually(is_overwritten)
        assert await history(client) == ["another", "another"]
        (again, *_) = [each for each in await stored.records(nats_client, "s") if b"sealed" in each.data]
        assert sealing.parse(again.data).key_id != sealed_body.key_id
        assert await dead_letters(nats_client) == []


async def test_what_was_moved_or_changed_at_the_broker_is_never_shown(
    broker: Broker, nats_client: Client, ring: Path
) -> None:
    js = nats_client.jetstream()
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        await say(client, "s")
        (record, *_) = await stored.records(nats_client, "s")
        await say(client, "t", "harmless")
        changed = record.data[:-1] + bytes([record.data[-1] ^ 1])
        for subject, body in (
            ("chat.session.t.transcript.m", record.data),  # another session's
            ("chat.session.s.transcript.other", record.data),  # another message's
            ("chat.session.s.transcript.changed", changed),
            ("chat.session.s.transcript.cut", record.data[:-30]),
        ):
            await js.publish(subject, body, headers=record.headers | {"Nats-Msg-Id": subject})
        assert await history(client, "s") == [SECRET, SECRET]
        assert await history(client, "t") == ["harmless", "harmless"]
        head = {"Nats-Msg-Id": "moved", "Chatmesh-Wire": "1"}
        for session in ("t", "s"):  # as a request: another session's, and no request at all
            await js.publish(
                f"chat.workflow.execute.{session}", record.data, headers=head | {"Nats-Msg-Id": session}
            )

        async def are_buried() -> bool:
            return len(await dead_letters(nats_client)) == 2

        await eventually(are_buried)


async def test_a_card_that_names_another_owner_opens_nothing(
    broker: Broker, nats_client: Client, ring: Path
) -> None:
    async with running(broker.url, *HS, sealed(ring)) as mesh, client_of(mesh) as client:
        path = "/v1/sessions/s/messages"
        said = await client.post(path, json={"message": SECRET}, headers=bearer(token("alice")))
        assert said.status_code == 202

        async def is_answered() -> bool:
            rows = (await client.get(path, headers=bearer(token("alice")))).json()["messages"]
            return [row["status"] for row in rows] == ["done", "done"]

        await eventually(is_answered)
        (card,) = await stored.stored(nats_client, "CHAT_SESSIONS", "chat.card.s")
        stolen = card.data.replace(b"alice", b"mallory")
        await nats_client.jetstream().publish("chat.card.s", stolen)
        # This pod has the key.
        for who in ("mallory", "alice"):
            assert (await client.get(path, headers=bearer(token(who)))).status_code == 404
    # Another one, which never had it.
    async with pod_and_client(broker.url, "p2", *HS, sealed(ring)) as (_, client):
        assert (await client.get(path, headers=bearer(token("mallory")))).status_code == 404
        refused = await client.post(path, json={"message": "more"}, headers=bearer(token("mallory")))
        assert (refused.status_code, refused.json()["code"]) == (503, "key_missing")


async def test_what_comes_in_clear_is_refused_unless_it_is_to_be_taken(
    broker: Broker, nats_client: Client, ring: Path
) -> None:
    js = nats_client.jetstream()
    clear = b'{"message_id":"m","session_id":"s","message":"in clear","context":{"model":"echo"}}'
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        await js.publish("chat.workflow.execute.s", clear)

        async def is_buried() -> bool:
            return "in clear" in " ".join(
                each.headers["Chatmesh-Reason"] for each in await dead_letters(nats_client)
            )

        await eventually(is_buried)
        async with events(client, "s") as stream:
            for subject in ("chat.session.s.broadcast", f"chat.pod.{mesh.id}.response"):
                forged = b'{"session_id":"s","message_id":"x","chunk_id":0,"chunk":"forged","is_final":true}'
                await nats_client.publish(subject, forged)
            await post(client, "s", "said", message_id="after", model=ECHO)
            reading = await stream.read_finals()
        assert reading.text == "said"
    async with (
        running(broker.url, sealed(ring), "sealing.accept_clear=true") as mesh,
        client_of(mesh) as client,
        events(client, "open") as stream,
    ):
        await js.publish("chat.workflow.execute.open", clear.replace(b'"s"', b'"open"'))
        assert (await stream.read_finals()).text == "in clear"
        assert await history(client, "s") == ["said", "said"]


async def test_what_was_said_before_is_shown_while_clear_is_taken(broker: Broker, ring: Path) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        await say(client, "s", "before")
    async with (
        running(broker.url, sealed(ring), "sealing.accept_clear=true") as mesh,
        client_of(mesh) as client,
    ):
        await say(client, "s", "after", "n")
        assert await history(client) == ["before", "before", "after", "after"]
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        assert await history(client) == ["after", "after"]


async def test_an_erasure_between_key_and_message_is_no_lie(
    broker: Broker, nats_client: Client, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(broker.url, sealed(ring), role="worker"),
        pod_and_client(broker.url, "p1", sealed(ring)) as (pod, one),
        pod_and_client(broker.url, "p2", sealed(ring)) as (_, two),
    ):
        await say(one, "s", "first", "m1")
        _erase_before_storing(monkeypatch, pod, two)
        refused = await post(one, "s", "lost?", message_id="m2", model=ECHO)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_accepted")
        assert "Retry-After" in refused.headers
        monkeypatch.undo()
        assert await say(one, "s", "lost?", "m2") == "lost?"
        assert await history(two) == ["lost?", "lost?"]


def _erase_before_storing(monkeypatch: pytest.MonkeyPatch, pod: Mesh, other: httpx.AsyncClient) -> None:
    publish = pod.broker.publisher.publish
    is_erased = False

    async def erase_first(subject: str, *arguments: object, **more: object) -> object:
        nonlocal is_erased
        if subject == "chat.workflow.execute.s" and not is_erased:
            is_erased = True
            assert (await other.delete("/v1/sessions/s")).status_code == 202
        return await publish(subject, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(pod.broker.publisher, "publish", erase_first)


async def test_a_key_is_forgotten_by_who_erases_and_is_not_kept_for_ever(
    broker: Broker, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        await say(client, "s")
        vault = mesh.broker.vault
        card = await mesh.broker.ownership.card(S)
        assert card is not None
        assert vault.cached(S, card.nonce) is not None
        monkeypatch.setattr("chatmesh.broker.vault.KEPT_SECONDS", 0.0)
        assert vault.cached(S, card.nonce) is None
        monkeypatch.undo()
        assert await vault.key(S, card.nonce) is not None
        await client.delete("/v1/sessions/s")
        assert vault.cached(S, card.nonce) is None


async def test_readers_of_many_sessions_stay_within_the_memory_for_keys(
    broker: Broker, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatmesh.broker.vault.MAX_KEPT", 3)
    async with running(broker.url, sealed(ring)) as mesh, client_of(mesh) as client:
        answers = await asyncio.gather(*(say(client, f"s{number}") for number in range(8)))
        assert answers == [SECRET] * 8
        assert len(mesh.broker.vault._kept) == 3
        for number in range(8):
            assert await history(client, f"s{number}") == [SECRET, SECRET]


async def test_a_body_that_only_claims_to_be_sealed_is_a_dead_letter(
    broker: Broker, nats_client: Client, ring: Path
) -> None:
    with pytest.raises(ProtocolError):
        sealing.parse(b'{"sealed":"request"}')
    async with running(broker.url, sealed(ring)):
        await nats_client.jetstream().publish("chat.workflow.execute.s", b'{"sealed":"request"}')

        async def is_buried() -> bool:
            return bool(await dead_letters(nats_client))

        await eventually(is_buried)
