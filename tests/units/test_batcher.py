"""What the batcher makes of a record before it is stored."""

from __future__ import annotations

from typing import Any

from chatmesh.kernel import Mailbox
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.relay import Batcher
from tests.units.made import SESSION


async def test_a_first_chunk_that_fits_no_record_beside_its_question_is_stored_with_the_beginning_of_that() -> (
    None
):
    """A tool call can't be split, and has its quotes escaped once more."""
    appended: list[bytes] = []

    class Transcript:
        async def append(self, *args: Any, **_: Any) -> None:
            appended.append(args[4])

    batcher = Batcher(Mailbox(8), Transcript(), None, max_chunks=10, flush_seconds=0.05)  # type: ignore[arg-type] - two of its parts are asked nothing
    question = {"message": '"' * 40_000, "digest": "d"}
    lane = batcher.open(
        SESSION,
        Token("m"),
        token=7,
        attempt=1,
        offset=0,
        request=question,
        is_foreign=False,
        max_bytes=100_000,
    )
    lane.write(chunk := b'{"chunk":"%b"}' % (b"y" * 30_000), urgent=True)
    await batcher.receive(lane)
    (body,) = appended
    assert 50_000 < len(body) <= 100_000
    assert chunk in body
    record = Record.decode(body, 1)
    assert record.request is not None
    assert record.request["digest"] == "d"
    assert question["message"].startswith(record.request["message"])
