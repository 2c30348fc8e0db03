"""A page of one session's messages among others': the same as any page, the server is never asked for more than there is, and never
led over what lies between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.broker import DirectGet
from chatmesh.broker.direct_get import Page
from chatmesh.broker.sparse import FAR, islands, sparse_page
from tests.support.broker import Broker
from tests.support.mesh import running

STREAM, PATTERN = "CHAT_TRANSCRIPT", "chat.session.s.transcript.*"
BODY = b"x" * 100
LIMITS: dict[str, Any] = {"limit": 100, "seconds": 5.0}

ISLANDS = (3, 1, 4)
"""Messages of the session at a time; others say `GAP` in between."""

GAP = 10
LARGE = 10_000


class Counting(DirectGet):
    """Notes from where it asks, for how many messages, and how many it gets."""

    asked: list[tuple[int, int, int]]

    async def page(self, stream: str, subject: str, **asked: Any) -> Page:
        page = await super().page(stream, subject, **asked)
        self.asked.append((asked["seq"], asked["limit"], len(page.messages)))
        return page


@pytest.fixture
async def reader(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Counting, list[list[int]]]]:
    """It, and the sequences of the session's messages, by island."""
    monkeypatch.setattr("chatmesh.broker.sparse.FAR", GAP - 1)
    async with running(broker.url, role="pod") as mesh:
        jetstream, seqs = nats_client.jetstream(), []
        for size in ISLANDS:
            for number in range(GAP):
                await jetstream.publish(f"chat.session.other{number}.transcript.m", BODY)
            acks = [
                await jetstream.publish(f"chat.session.s.transcript.m{number % 3}", BODY)
                for number in range(size)
            ]
            seqs.append([ack.seq for ack in acks])
        counting = Counting(mesh.broker.connection, mesh.broker.replies)
        counting.asked = []
        yield counting, seqs


def hints(*known: int) -> Any:
    async def ask() -> Sequence[int]:
        return known

    return ask


async def assert_same(counting: Counting, asked: dict[str, Any], known: Sequence[int]) -> None:
    found = await sparse_page(counting, STREAM, PATTERN, **asked, hints=hints(*known))
    wanted = await DirectGet.page(counting, STREAM, PATTERN, **asked)
    found_seqs, wanted_seqs = ([each.seq for each in page.messages] for page in (found, wanted))
    if asked["max_bytes"] == LARGE:
        assert (found_seqs, found.pending) == (wanted_seqs, wanted.pending), (asked, known)
    else:
        # The server counts subjects and headers too, so it may stop sooner.
        assert found_seqs[: len(wanted_seqs)] == wanted_seqs, (asked, known)
        assert sum(len(each.body) for each in found.messages[:-1]) < asked["max_bytes"]
        assert len(found_seqs) + found.pending == len(wanted_seqs) + wanted.pending


async def test_it_is_as_any_other_page(reader: tuple[Counting, list[list[int]]]) -> None:
    counting, seqs = reader
    chance = random.Random(8)  # noqa: S311 - repeatable chance, no secret
    every = [seq for island in seqs for seq in island]
    starts = [island[0] - 1 for island in seqs]
    for seq in (0, 1, *every, *(each + 1 for each in every), every[-1] + 100):
        for limit in (1, 2, 4, 7, 100):
            asked = LIMITS | {"seq": seq, "limit": limit, "max_bytes": chance.choice([1, 150, 350, LARGE])}
            wrong = sorted(chance.sample(range(every[-1] + 20), 3))
            for known in ((), starts, starts[1:2], wrong):
                await assert_same(counting, asked, known)


async def test_the_server_is_asked_for_what_there_is(reader: tuple[Counting, list[list[int]]]) -> None:
    counting, (first, second, third) = reader
    for seq in (1, first[1], third[-1], third[-1] + 1):
        await sparse_page(
            counting, STREAM, PATTERN, seq=seq, **LIMITS, hints=hints(first[0], second[0], third[0])
        )
    assert [(limit, found) for _, limit, found in counting.asked if limit != found] == []
    # From none of an island is it led to another.
    spans = [(seq, seq + found) for seq, _, found in counting.asked if seq > 1]
    assert all(end - begin <= max(ISLANDS) for begin, end in spans)


async def test_who_has_nothing_is_asked_once(reader: tuple[Counting, list[list[int]]]) -> None:
    counting, _ = reader
    page = await sparse_page(counting, STREAM, "chat.session.nobody.transcript.*", seq=1, **LIMITS)
    assert (page.messages, page.more) == ([], False)
    assert counting.asked == [(1, 1, 0)]


@pytest.mark.parametrize("at", range(6))
async def test_what_is_said_meanwhile_makes_no_hole(
    at: int,
    reader: tuple[Counting, list[list[int]]],
    nats_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before any of its questions the session goes on, in an island that is nearly over, and at the end."""
    counting, seqs = reader
    every = [seq for island in seqs for seq in island]
    read, asked = counting.page, 0

    async def page(*given: Any, **named: Any) -> Page:
        nonlocal asked
        if asked == at:
            every.append((await nats_client.jetstream().publish("chat.session.s.transcript.m9", BODY)).seq)
        asked += 1
        return await read(*given, **named)

    monkeypatch.setattr(counting, "page", page)
    found: list[int] = []
    seq, more = 1, True
    while more:
        got = await sparse_page(
            counting, STREAM, PATTERN, seq=seq, **LIMITS, hints=hints(*(island[0] for island in seqs))
        )
        found += [each.seq for each in got.messages]
        seq, more = found[-1] + 1, got.more
    assert found == every[: len(found)]
    assert found[:8] == every[:8]


def test_islands_are_far_from_what_is_before_them() -> None:
    known = [5, 10, FAR + 11, FAR + 12, 3 * FAR, 5 * FAR]
    assert islands(known, 10, 4 * FAR) == [FAR + 11, 3 * FAR]
    assert islands(known, 11, 4 * FAR) == [3 * FAR]
    assert islands([], 0, 1) == []
