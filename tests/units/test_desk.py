"""The desk: what it takes on is counted, also where it crashes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chatmesh.broker import Delivery
from chatmesh.kernel import Mailbox
from chatmesh.workflow.desk import Desk
from tests.units.virtual import timeless

SLOTS = 4
SEALED = b'{"sealed":"request","key":"k","session_id":"s","message_id":"m"}\n' + bytes(40)


class FakeVault:
    """Opens what is sealed when it can, which is never; what is in clear crashes the desk."""

    async def request(self, *_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    def clear_request(self, *_: Any) -> None:
        raise RuntimeError("a bug")


class FakeLeases:
    def __len__(self) -> int:
        return 0

    def hold(self, delivery: Delivery) -> bool:
        return True

    def release_all(self) -> None:
        return


def delivery(body: bytes) -> Delivery:
    return cast(
        "Delivery", SimpleNamespace(body=body, deliveries=1, headers={}, subject="chat.workflow.execute.s")
    )


@timeless
async def test_a_desk_that_crashed_while_it_opened_a_request_has_all_of_its_slots_again() -> None:
    """Where the crash came before the opening's first step, and where it came behind that."""
    for turns in (0, 3):
        mailbox = Mailbox[Delivery](8)
        desk = Desk(
            mailbox,
            cast("Any", SimpleNamespace(vault=FakeVault())),
            cast("Any", SimpleNamespace()),
            cast("Any", FakeLeases()),
            concurrency=SLOTS,
            max_parked=8,
            drain_seconds=1.0,
            on_free=lambda: None,
            on_deadline=lambda: None,
            overdue=cast("Any", SimpleNamespace(is_found=False)),
        )
        mailbox.send_nowait(delivery(SEALED))
        running = asyncio.create_task(desk.run(lambda: None))
        for _ in range(turns):
            await asyncio.sleep(0)
        mailbox.send_nowait(delivery(b"{}"))
        with pytest.raises(ExceptionGroup):
            await running
        assert desk.free_slots == SLOTS
