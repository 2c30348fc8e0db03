"""Reads may come from a server that is behind: what must be whole is read until it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chatmesh.broker import Broker, DirectGet, PubAck, Transcript
from chatmesh.broker.direct_get import Page
from chatmesh.broker.homes import Homes
from chatmesh.errors import BrokerError, BrokerUnreachableError
from chatmesh.protocol import jsontext
from chatmesh.protocol.records import Claim, Record, RecordHead
from chatmesh.protocol.tokens import Token
from chatmesh.workflow import Claims, Identity
from tests.cluster.replicas import behind
from tests.support.broker import Broker as Server
from tests.support.mesh import running
from tests.units.made import SESSION, chunk, request

ME = Identity(Token("me"), "boot")


@pytest.fixture
async def parts(broker: Server) -> AsyncIterator[Broker]:
    """The broker's parts of one process."""
    async with running(broker.url, role="pod") as mesh:
        yield mesh.broker


def claim(session_id: Token, nonce: str) -> Claim:
    return Claim(session_id, Token("m"), Token("dead"), "b", nonce, 1, 0, 0, 0, "t")


async def store(parts: Broker, session_id: Token, token: int, *texts: str, after: int = 0) -> list[int]:
    """One record for each text under the claim `token`, behind the offset `after`, as a worker would; the last one is
    final. Their sequences."""
    return [
        await append(parts, session_id, token, number, text, is_last=number + 1 == len(texts), after=after)
        for number, text in enumerate(texts)
    ]


async def append(
    parts: Broker, session_id: Token, token: int, number: int, text: str, *, is_last: bool, after: int
) -> int:
    stored: asyncio.Future[PubAck | BrokerError] = asyncio.get_running_loop().create_future()
    head = RecordHead(session_id, Token("m"), after + number + 1, 1, token)
    body = head.encode([jsontext.encode(chunk(number, text, final="stop" if is_last else None))])
    await parts.transcript.append(session_id, Token("m"), token, number, body, stored.set_result, seconds=10)
    ack = await stored
    assert isinstance(ack, PubAck)
    return ack.seq


async def test_takeover_that_reads_a_server_behind_misses_no_record_and_no_final(parts: Broker) -> None:
    replica = behind(parts)
    token = await parts.transcript.claim(claim(SESSION, "1"), after=0, seconds=5)
    assert token is not None
    seqs = await store(parts, SESSION, token, "one ", "two ", "")
    held = await parts.transcript.last_claim(SESSION, seconds=5)
    assert held is not None
    replica.lag(has=seqs[0], answers=3)
    claimed = await Claims(ME, parts, holder_seconds=0.1).go_on(request(), held)
    assert claimed is not None
    assert claimed.told.text == "one two "
    assert (claimed.told.offset, claimed.told.next_chunk_id) == (3, 3)
    assert claimed.told.final is not None
    assert replica.answers < 0, "it was behind when it was asked"


async def test_records_are_whole_over_pages_and_servers_that_are_behind(
    parts: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatmesh.broker.transcript.PAGE_RECORDS", 4)
    replica = behind(parts)
    token = await parts.transcript.claim(claim(SESSION, "1"), after=0, seconds=5)
    assert token is not None
    seqs = await store(parts, SESSION, token, *map(str, range(10)))
    own = await parts.transcript.claim(claim(SESSION, "2"), after=token, seconds=5)
    assert own is not None
    for has in (0, token, seqs[2], seqs[5], seqs[-1]):
        replica.lag(has=has, answers=5)
        assert [record.seq for record in await read(parts, SESSION, own)] == seqs


class Disagreeing(DirectGet):
    """Two servers, of which either may be asked: one has everything, the other has nothing from sequence `until` on."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.until = 0
        self.chance = random.Random(0)  # noqa: S311 - repeatable chance, no secret
        self.asked: list[tuple[int, int]] = []

    async def page(self, stream: str, subject: str, **asked: Any) -> Page:
        self.asked.append((asked["seq"], asked["limit"]))
        page = await super().page(stream, subject, **asked)
        if not self.until or self.chance.random() < 0.5:
            return page
        rest = await super().page(stream, subject, **asked | {"limit": 1000, "max_bytes": 1 << 20})
        hidden = sum(each.seq >= self.until for each in rest.messages)
        shown = [each for each in page.messages if each.seq < self.until]
        return Page(shown, len(rest.messages) - hidden - len(shown))


@dataclass
class Gap:
    """Two messages of a session, with a gap between that is one for every reader. `seqs`: of their records."""

    parts: Broker
    servers: Disagreeing
    seqs: list[int]
    last: int

    async def pages(self) -> list[int]:
        """The records, as a reader gets them, page by page."""
        found, seq = [], 1
        while seq <= self.seqs[-1]:
            page = await self.parts.transcript.page(SESSION, seq=seq, limit=100, seconds=5)
            found += [record.seq for record in page.records]
            seq = page.next_seq
        return found


@pytest.fixture
async def gap(parts: Broker, monkeypatch: pytest.MonkeyPatch) -> Gap:
    monkeypatch.setattr("chatmesh.broker.sparse.FAR", 0)
    monkeypatch.setattr(Homes, "is_replicated", True)
    servers = Disagreeing(parts.connection, parts.replies)
    parts.transcript = Transcript(servers, parts.publisher, parts.vault, parts.homes)
    token = await parts.transcript.claim(claim(SESSION, "1"), after=0, seconds=5)
    assert token is not None
    seqs = await store(parts, SESSION, token, *map(str, range(4)))
    second = await parts.transcript.claim(
        replace(claim(SESSION, "2"), recent=(token,), base=4, offset=4), after=token, seconds=5
    )
    assert second is not None
    seqs += await store(parts, SESSION, second, *map(str, range(4)), after=4)
    last = await parts.transcript.claim(
        replace(claim(SESSION, "3"), recent=(token, second), base=8, offset=8), after=second, seconds=5
    )
    assert last is not None
    return Gap(parts, servers, seqs, last)


@pytest.mark.parametrize("until", range(1, 9))
async def test_nothing_is_passed_over_where_servers_count_differently(until: int, gap: Gap) -> None:
    gap.servers.until = gap.seqs[-until]
    for _ in range(10):
        assert await gap.pages() == gap.seqs
        assert [record.seq for record in await read(gap.parts, SESSION, gap.last)] == gap.seqs


async def test_gap_is_led_over_where_the_sessions_own_count_says_that_nothing_lies_in_it(gap: Gap) -> None:
    page = await gap.parts.transcript.page(SESSION, seq=1, limit=100, seconds=5)
    assert [record.seq for record in page.records] == gap.seqs, "on one page"
    asked = [(seq, limit) for seq, limit in gap.servers.asked if seq <= gap.seqs[3]]
    assert max(seq + limit for seq, limit in asked) <= gap.seqs[4], "and nobody looked for more in between"


async def test_claim_that_no_server_shows_is_an_error_and_not_an_empty_answer(parts: Broker) -> None:
    """As where the stream was made anew meanwhile."""
    with pytest.raises(BrokerUnreachableError):
        await read(parts, SESSION, 10**6, seconds=0.2)


async def test_request_that_was_delivered_is_seen_though_the_server_asked_is_behind(parts: Broker) -> None:
    replica = behind(parts)
    ack = await parts.queue.submit(request(), key=None, only_if_free=True, seconds=5)
    replica.lag(has=ack.seq - 1, answers=3)
    assert await parts.queue.head(SESSION, seconds=5) == ack.seq
    assert await parts.queue.head(Token("nobody"), seconds=5) is None


async def read(parts: Broker, session_id: Token, token: int, *, seconds: float = 10) -> list[Record]:
    found = parts.transcript.records_before(session_id, token, seq=1, seconds=seconds)
    return [record async for record in found]
