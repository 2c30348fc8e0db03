"""A client that takes nothing of its answer is cut in time; one that takes a little of it is not."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from tests.support.waiting import eventually
from tests.web.serving import LARGE_BYTES, serving
from tests.web.test_leaving import OK, rest_of, stalled

pytestmark = pytest.mark.slow

OFTEN = 0.02
"""Seconds between two mouthfuls."""


def cut_so_far() -> float:
    return REGISTRY.get_sample_value("chatmesh_http_stalled_total") or 0.0


async def test_client_that_takes_nothing_of_an_answer_is_cut_and_counted() -> None:
    before = cut_so_far()
    async with serving(write_timeout_seconds=0.2) as served:
        raw = await stalled(served)
        await eventually(lambda: cut_so_far() == before + 1)
        assert await rest_of(raw) < LARGE_BYTES


async def test_client_that_goes_on_in_time_gets_its_answer_whole() -> None:
    before = cut_so_far()
    async with serving(write_timeout_seconds=10) as served:
        raw = await stalled(served)
        wire = await served.connect(OK)
        assert (await wire.reply()).status == 200
        await wire.close()
        served.server.drain()
        assert await rest_of(raw) > LARGE_BYTES
    assert cut_so_far() == before


async def test_client_that_takes_a_large_answer_slowly_is_not_cut_however_long_it_takes() -> None:
    """For many times the limit, but never nothing for so long."""
    before = cut_so_far()
    async with serving(write_timeout_seconds=1.5) as served:
        raw = await stalled(served)
        loop = asyncio.get_running_loop()
        for _ in range(300):
            assert await loop.sock_recv(raw, 4096), "it was cut"
            await asyncio.sleep(OFTEN)
        raw.close()
    assert cut_so_far() == before
