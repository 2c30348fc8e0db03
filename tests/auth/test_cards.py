"""Whose a session is, as stored: the first one who writes has it, until it is erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from chatmesh.broker import Broker as Facade
from chatmesh.broker.streams import SESSIONS, StreamSettings
from chatmesh.errors import ProtocolError
from chatmesh.protocol import subjects
from chatmesh.protocol.cards import Card, new_nonce, owner_of
from chatmesh.protocol.tokens import Token
from tests.support import stored
from tests.support.broker import Broker
from tests.support.cluster import Cluster
from tests.support.mesh import client_of, running
from tests.support.waiting import eventually

S = Token("s")


def card_of(user: str) -> Card:
    return Card("t", user, None, new_nonce(), "2026-11-26T00:00:00.000Z")


@pytest.fixture
async def one(broker: Broker) -> AsyncIterator[Facade]:
    async with running(broker.url, role="pod", id="p1") as mesh:
        yield mesh.broker


async def test_first_one_to_begin_a_session_has_it(broker: Broker, one: Facade) -> None:
    async with running(broker.url, role="pod", id="p2") as other:
        rivals = [card_of(f"u{number}") for number in range(20)]
        stored_cards = await asyncio.gather(
            *(
                each.cards.begin(S, rival, None, seconds=5)
                for rival, each in zip(rivals, [one, other.broker] * 10, strict=True)
            )
        )
        assert len(set(stored_cards)) == 1
        assert stored_cards[0] in rivals
        assert await one.cards.read(S, seconds=5) == stored_cards[0]


async def test_erased_session_is_nobodys_and_can_be_begun_by_anybody(
    one: Facade, nats_client: Client
) -> None:
    first, second = card_of("alice"), card_of("bob")
    assert await one.cards.read(S, seconds=5) is None
    assert await one.cards.begin(S, first, None, seconds=5) == first
    await one.cards.erase(S, first, seconds=5)
    assert await one.cards.read(S, seconds=5) is None
    (tombstone,) = await stored.stored(nats_client, SESSIONS, subjects.card(S))
    assert tombstone.data == b""
    assert await one.cards.begin(S, second, None, seconds=5) == second


async def test_erasing_leaves_a_card_alone_that_was_begun_meanwhile(one: Facade) -> None:
    first, second = card_of("alice"), card_of("bob")
    await one.cards.begin(S, first, None, seconds=5)
    await one.cards.erase(S, first, seconds=5)
    await one.cards.begin(S, second, None, seconds=5)
    await one.cards.erase(S, first, seconds=5)
    assert await one.cards.read(S, seconds=5) == second


async def test_card_that_has_lain_too_long_is_written_again_by_whoever_begins(broker: Broker) -> None:
    settings = ("streams.transcript_max_age_hours=0.0001", "streams.requests_max_age_hours=1")
    async with running(broker.url, *settings, role="pod", id="p1") as mesh:
        cards, client = mesh.broker.cards, await broker.connect()
        mine = card_of("alice")
        await cards.begin(S, mine, None, seconds=5)
        (before,) = await stored.stored(client, SESSIONS, subjects.card(S))
        assert await cards.begin(S, card_of("bob"), None, seconds=5) == mine
        assert await stored.stored(client, SESSIONS, subjects.card(S)) == [before]

        async def written_again() -> stored.Stored | None:
            assert await cards.begin(S, card_of("bob"), None, seconds=5) == mine
            (after,) = await stored.stored(client, SESSIONS, subjects.card(S))
            return after if after.seq > before.seq else None

        assert (await eventually(written_again)).data == before.data
        await client.close()


async def test_what_is_no_card_is_nobodys_and_not_begun_over(one: Facade, nats_client: Client) -> None:
    await nats_client.jetstream().publish(subjects.card(S), b"nonsense")
    assert await one.cards.read(S, seconds=5) == Card.unreadable()
    assert not (await one.cards.begin(S, card_of("alice"), None, seconds=5)).is_of("t", "alice")


async def test_without_auth_and_sealing_no_card_is_written(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        stream = {"Accept": "text/event-stream"}
        answer = await client.post("/v1/sessions/s/messages", json={"message": "a"}, headers=stream)
        assert answer.status_code == 200
        assert await stored.stored(nats_client, SESSIONS, ">") == []


@pytest.mark.slow
async def test_replicated_card_is_never_read_old(cluster: Cluster) -> None:
    urls = cluster.urls
    async with (
        running(urls[0], "streams.replicas=3", role="pod", id="p1") as one,
        running(urls[1], "streams.replicas=3", role="pod", id="p2") as two,
        running(urls[2], "streams.replicas=3", role="pod", id="p3") as three,
    ):
        writers = [one.broker.cards, two.broker.cards, three.broker.cards]
        for number in range(60):
            session_id = Token(f"s{number % 3}")
            mine = card_of(f"u{number}")
            assert await writers[number % 3].begin(session_id, mine, None, seconds=5) == mine
            for reader in writers:
                assert await reader.read(session_id, seconds=5) == mine
            await writers[(number + 1) % 3].erase(session_id, mine, seconds=5)
            for reader in writers:
                assert await reader.read(session_id, seconds=5) is None


# --- the card itself ----------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20).filter(lambda text: text.isprintable())


@given(TEXT, TEXT, st.none() | st.dictionaries(TEXT, TEXT), TEXT)
def test_card_comes_back_as_it_was(tenant: str, user: str, key: dict[str, str] | None, nonce: str) -> None:
    card = Card(tenant, user, key, nonce, "2026-11-26T00:00:00.000Z")
    assert Card.decode(card.encode()) == card


@given(
    st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b'{"tenant":1}', b'{"tenant":null,"user":"u"}'])
)
def test_whatever_else_is_there_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Card.decode(body)


@given(TEXT, TEXT, TEXT, TEXT)
def test_two_owners_never_share_a_list(tenant: str, user: str, other_tenant: str, other_user: str) -> None:
    same = (tenant, user) == (other_tenant, other_user)
    assert (owner_of(tenant, user) == owner_of(other_tenant, other_user)) is same


def test_session_without_an_owner_is_nobodys() -> None:
    assert not Card("", "", None, "n", "").is_of("", "")


def test_card_outlives_the_last_record_of_its_session() -> None:
    hour = 3600
    settings = StreamSettings(1, 24 * hour, 168 * hour, 1, 1, 1, 1, 1, 1)
    oldest_when_accepted = settings.cards_refresh_seconds
    last_record_is_gone = oldest_when_accepted + 24 * hour + 168 * hour
    assert settings.cards_max_age_seconds - last_record_is_gone >= 84 * hour
