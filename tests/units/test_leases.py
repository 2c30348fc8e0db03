"""What a worker holds is renewed in time and written down soon, and who holds nothing does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from chatmesh.broker import Delivery, LeaseBook
from chatmesh.protocol.tokens import Token
from chatmesh.workflow.claims import Identity
from chatmesh.workflow.leases import BOOK_SECONDS, FIRST_BOOK_SECONDS, Leases
from tests.units.virtual import pass_time, timeless

ACK_WAIT = 3.0


class FakeDelivery:
    """Notes when it was renewed."""

    def __init__(self, number: int) -> None:
        self.place = (float(number), number)
        self.reply = f"ack.{number}"
        self.renewed_at: list[float] = []

    async def in_progress(self) -> None:
        self.renewed_at.append(asyncio.get_running_loop().time())


class FakeBook:
    """Notes when which page was written."""

    def __init__(self) -> None:
        self.pages: list[tuple[float, list[str]]] = []
        self.is_away = False

    async def write(self, worker_id: str, boot: str, leases: Sequence[str]) -> bool:
        if self.is_away:
            return False
        self.pages.append((asyncio.get_running_loop().time(), list(leases)))
        return True

    async def free(self, *_: Any) -> int:
        return 0


def held(number: int) -> Delivery:
    return cast("Delivery", FakeDelivery(number))


@asynccontextmanager
async def keeping() -> AsyncIterator[tuple[Leases, FakeBook]]:
    book = FakeBook()
    leases = Leases(ACK_WAIT, cast("LeaseBook", book), Identity(Token("w"), "b"))
    begun = asyncio.Event()
    running = asyncio.create_task(leases.run(begun.set))
    await begun.wait()
    yield leases, book
    leases.drain()
    await running


@timeless
async def test_what_is_taken_is_written_down_at_once_or_nearly() -> None:
    async with keeping() as (leases, book):
        await pass_time(10)
        assert book.pages == [], "nothing was held"
        leases.hold(held(1))
        await pass_time(1)
        assert book.pages == [(pytest.approx(10 + FIRST_BOOK_SECONDS), ["ack.1"])]


@timeless
async def test_however_much_changes_the_book_is_written_ten_times_a_second_at_most() -> None:
    async with keeping() as (leases, book):
        for number in range(1000):
            delivery = held(number)
            leases.hold(delivery)
            await pass_time(0.001)
            if number % 2:
                leases.release(delivery)
        await pass_time(1)
        assert 5 <= len(book.pages) <= 1 + 1 / BOOK_SECONDS
        assert book.pages[-1][1] == [f"ack.{number}" for number in range(0, 1000, 2)]


@timeless
async def test_what_could_not_be_written_down_is_once_the_broker_is_back() -> None:
    async with keeping() as (leases, book):
        book.is_away = True
        leases.hold(held(1))
        await pass_time(10)
        assert book.pages == []
        book.is_away = False
        await pass_time(1)
        assert [page for _, page in book.pages] == [["ack.1"]]


@timeless
async def test_what_is_over_before_it_could_be_written_costs_no_page() -> None:
    async with keeping() as (leases, book):
        delivery = held(1)
        leases.hold(delivery)
        await pass_time(FIRST_BOOK_SECONDS / 2)
        leases.release(delivery)
        await pass_time(1)
        assert book.pages == []


@timeless
async def test_a_lease_is_renewed_three_times_within_its_time_until_it_is_let_go() -> None:
    async with keeping() as (leases, _):
        delivery = FakeDelivery(1)
        await pass_time(0.5)
        leases.hold(cast("Delivery", delivery))
        await pass_time(ACK_WAIT)
        leases.release(cast("Delivery", delivery))
        await pass_time(ACK_WAIT)
        assert delivery.renewed_at == [pytest.approx(1), pytest.approx(2), pytest.approx(3)]


@timeless
async def test_who_leaves_writes_down_what_is_left() -> None:
    async with keeping() as (leases, book):
        one, other = held(1), held(2)
        leases.hold(one)
        leases.hold(other)
        await pass_time(1)
        leases.release(one)
    assert [page for _, page in book.pages] == [["ack.1", "ack.2"], ["ack.2"]]
