"""A lane: one record under way, the first and the final chunk at once, the others after the flush, none beside the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.broker import PubAck
from chatmesh.errors import ChatmeshError, FencedError
from chatmesh.protocol.records import RecordHead
from chatmesh.protocol.tokens import Token
from chatmesh.relay.batching import Buffer
from chatmesh.relay.lane import ROOM_BATCHES, Lane
from chatmesh.relay.ticks import Ticks
from tests.units.made import SESSION
from tests.units.virtual import pass_time, timeless, turns

FLUSH = 0.05
FENCED = FencedError("another worker has the session", code=10071)


class Relay:
    """Does with a lane what the batcher does. A broker that acknowledges only when told."""

    def __init__(
        self, *, max_chunks: int = 100, offset: int = 0, request: dict[str, Any] | None = None
    ) -> None:
        self.woken = 0
        self.taken: list[tuple[RecordHead, list[bytes]]] = []
        self.times: list[float] = []
        self.lane = Lane(
            SESSION,
            Token("m"),
            token=7,
            attempt=1,
            offset=offset,
            request=request,
            is_foreign=False,
            buffer=Buffer(max_chunks, 100_000),
            max_chunks=max_chunks,
            max_bytes=200_000,
            ticks=Ticks(FLUSH),
            wake=self._wake,
        )
        self.lane.encode_by(lambda drafts: [text.encode() for text, _ in drafts])

    def _wake(self, lane: Lane) -> None:
        self.woken += 1
        asyncio.get_running_loop().call_soon(self._receive, lane)

    def _receive(self, lane: Lane) -> None:
        lane.is_queued = False
        result, lane.acknowledged = lane.acknowledged, None
        if isinstance(result, PubAck):
            lane.stored()
        elif result is not None:
            lane.fail(result)
        if lane.is_ready:
            assert lane.in_flight is None, "two records under way"
            self.taken.append(lane.take())
            self.times.append(asyncio.get_running_loop().time())

    def acknowledge(self) -> None:
        self.lane.on_acknowledged(PubAck(seq=len(self.taken), duplicate=False))

    async def settle(self) -> None:
        """Acknowledges until nothing is under way."""
        await turns(2)
        while self.lane.in_flight is not None:
            self.acknowledge()
            await turns(2)

    @property
    def batches(self) -> list[list[bytes]]:
        return [chunks for _, chunks in self.taken]


@timeless
async def test_the_first_and_the_final_chunk_leave_at_once() -> None:
    relay = Relay()
    relay.lane.write(b"first", urgent=True)
    await relay.settle()
    relay.lane.write_final(b"final")
    await relay.settle()
    assert relay.batches == [[b"first"], [b"final"]]
    assert relay.times == [0.0, 0.0]


@timeless
async def test_other_chunks_leave_together_when_the_first_of_them_has_waited_long_enough() -> None:
    relay = Relay()
    relay.lane.write(b"a")
    await pass_time(FLUSH / 2)
    relay.lane.write(b"b")
    await pass_time(FLUSH)
    assert relay.batches == [[b"a", b"b"]]
    assert relay.times == pytest.approx([FLUSH])


@timeless
async def test_what_is_said_leaves_together_with_what_was_written_and_when_that_does() -> None:
    relay = Relay()
    relay.lane.write(b"a")
    relay.lane.say("b", 0.0)
    await pass_time(FLUSH)
    await relay.settle()
    relay.lane.say("c", 0.0)
    await pass_time(FLUSH)
    await relay.settle()
    assert relay.batches == [[b"a", b"b"], [b"c"]]
    assert relay.times == pytest.approx([FLUSH, 2 * FLUSH])


@timeless
async def test_a_full_batch_of_what_is_said_does_not_wait() -> None:
    relay = Relay(max_chunks=3)
    assert [relay.lane.say(text, 0.0) for text in "abcdef"] == [True] * 5 + [False]
    await turns(2)
    assert relay.batches == [[b"a", b"b", b"c"]]
    assert relay.times == [0.0]
    relay.lane.write_final(b"z")
    await relay.settle()


@timeless
async def test_a_full_batch_does_not_wait() -> None:
    relay = Relay(max_chunks=3)
    for chunk in (b"a", b"b", b"c"):
        relay.lane.write(chunk)
    await turns(2)
    assert relay.batches == [[b"a", b"b", b"c"]]
    assert relay.times == [0.0]


@timeless
async def test_a_final_chunk_takes_the_waiting_ones_along_and_their_timer_with_it() -> None:
    relay = Relay()
    relay.lane.write(b"a")
    relay.lane.write_final(b"z")
    await relay.settle()
    woken = relay.woken
    await pass_time(10 * FLUSH)
    assert relay.batches == [[b"a", b"z"]]
    assert relay.woken == woken


@timeless
async def test_one_record_is_under_way_at_a_time() -> None:
    relay = Relay()
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    relay.lane.write(b"b", urgent=True)
    await pass_time(10 * FLUSH)
    assert relay.batches == [[b"a"]]
    relay.acknowledge()
    await turns(2)
    assert relay.batches == [[b"a"], [b"b"]]


@timeless
async def test_what_waited_out_its_flush_behind_a_record_leaves_with_its_acknowledgement() -> None:
    relay = Relay()
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    relay.lane.write(b"b")
    await pass_time(2 * FLUSH)
    relay.acknowledge()
    await turns(2)
    assert relay.batches == [[b"a"], [b"b"]]


@timeless
async def test_what_a_full_batch_left_behind_gets_a_timer_of_its_own() -> None:
    relay = Relay(max_chunks=2)
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    for chunk in (b"b", b"c", b"d"):
        relay.lane.write(chunk)
    relay.acknowledge()
    await turns(2)
    relay.acknowledge()
    await pass_time(FLUSH)
    await turns(2)
    assert relay.batches == [[b"a"], [b"b", b"c"], [b"d"]]


@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(["write", "urgent", "say", "acknowledge", "turn", "insert"]), st.floats(0, 0.1)
        ),
        max_size=60,
    ),
    max_chunks=st.integers(1, 5),
    offset=st.integers(0, 100),
)
@settings(deadline=None)
@timeless
async def test_whatever_comes_when_every_chunk_is_stored_once_in_order_without_a_hole(
    steps: list[str | float], max_chunks: int, offset: int
) -> None:
    relay = Relay(max_chunks=max_chunks, offset=offset, request={"message": "hi"})
    written, inserted = 0, 0
    for step in steps:
        match step:
            case "say":
                relay.lane.say(str(written), 0.0)
                written += 1
            case "write" | "urgent":
                relay.lane.settle()
                relay.lane.write(b"%d" % written, urgent=step == "urgent")
                written += 1
            case "insert":
                assert relay.lane.insert_final(Token(f"other{inserted}"), b"final", {"message": "other"})
                inserted += 1
            case "acknowledge" if relay.lane.in_flight is not None and not relay.lane.is_queued:
                relay.acknowledge()
            case "turn":
                await turns(1)
            case float():
                await pass_time(step)
    relay.lane.settle()
    relay.lane.write_final(b"%d" % written)
    await relay.settle()
    await relay.lane.wait_stored()
    own = [(head, chunks) for head, chunks in relay.taken if head.message_id == "m"]
    assert [chunk for _, chunks in own for chunk in chunks] == [b"%d" % n for n in range(written + 1)]
    assert [head.offset for head, _ in relay.taken] == list(range(offset + 1, offset + 1 + len(relay.taken)))
    assert [head.request is not None for head, _ in own] == [True] + [False] * (len(own) - 1)
    assert len(relay.taken) - len(own) == inserted
    assert relay.lane.batches == len(relay.taken)


@timeless
async def test_a_record_says_whose_it_is_and_under_which_claim() -> None:
    relay = Relay(offset=3, request={"message": "hi"})
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    (head,) = [head for head, _ in relay.taken]
    assert head == RecordHead(SESSION, Token("m"), 4, 1, 7, request={"message": "hi"})


@timeless
async def test_a_record_that_was_refused_leaves_the_question_to_the_next_one() -> None:
    relay = Relay(request={"message": "hi"})
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    assert relay.lane.request == {"message": "hi"}
    relay.acknowledge()
    await turns(2)
    assert relay.lane.request is None


@timeless
async def test_a_message_stopped_in_the_queue_gets_a_record_of_its_own_with_its_question() -> None:
    relay = Relay(offset=5, request={"message": "mine"})
    assert relay.lane.insert_final(Token("other"), b"cancelled", {"message": "other"})
    await relay.settle()
    relay.lane.write(b"a", urgent=True)
    await relay.settle()
    other, own = (head for head, _ in relay.taken)
    assert (other.message_id, other.offset, other.request) == ("other", 6, {"message": "other"})
    assert (own.message_id, own.offset, own.request) == ("m", 7, {"message": "mine"})


@timeless
async def test_a_message_that_is_stopped_twice_in_the_queue_gets_one_record() -> None:
    relay = Relay()
    assert relay.lane.insert_final(Token("other"), b"cancelled", {"message": "other"})
    assert not relay.lane.insert_final(Token("other"), b"cancelled", {"message": "other"})
    await relay.settle()
    assert not relay.lane.insert_final(Token("other"), b"cancelled", {"message": "other"})
    await relay.settle()
    assert [head.message_id for head, _ in relay.taken] == ["other"]


@timeless
async def test_nothing_is_put_behind_the_final_chunk() -> None:
    relay = Relay()
    relay.lane.write_final(b"z")
    assert not relay.lane.insert_final(Token("other"), b"cancelled", {})
    await relay.settle()


# --- room ---------------------------------------------------------------------------------------------------------------


@timeless
async def test_a_provider_waits_when_the_broker_does_not_keep_up() -> None:
    relay = Relay(max_chunks=2)
    written = 0
    while relay.lane.has_room:
        relay.lane.write(b"x")
        written += 1
    assert written == ROOM_BATCHES * 2
    room = asyncio.create_task(relay.lane.wait_room())
    await turns(3)
    assert relay.batches == [[b"x", b"x"]]
    while not room.done():
        relay.acknowledge()
        await turns(3)
    assert relay.lane.has_room
    room.result()
    relay.lane.write_final(b"z")
    await relay.settle()


@timeless
async def test_there_is_room_without_waiting_while_the_broker_keeps_up() -> None:
    await Relay().lane.wait_room()


@timeless
async def test_stored_means_acknowledged() -> None:
    relay = Relay()
    await relay.lane.wait_stored()
    relay.lane.write(b"a")
    stored = asyncio.create_task(relay.lane.wait_stored())
    await pass_time(2 * FLUSH)
    assert relay.batches == [[b"a"]]
    assert not stored.done()
    relay.acknowledge()
    await stored


# --- ends ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["wait_room", "wait_stored"])
@timeless
async def test_who_waits_hears_why_the_lane_ended(wait: str) -> None:
    relay = Relay(max_chunks=1)
    relay.lane.write(b"x")
    await turns(2)
    while relay.lane.has_room:
        relay.lane.write(b"y")
    waiting = asyncio.create_task(getattr(relay.lane, wait)())
    await turns(3)
    assert not waiting.done()
    relay.lane.on_acknowledged(FENCED)
    with pytest.raises(FencedError):
        await waiting
    assert relay.batches == [[b"x"]]


@pytest.mark.parametrize("wait", ["wait_room", "wait_stored"])
@timeless
async def test_who_comes_after_the_end_hears_of_it_too(wait: str) -> None:
    relay = Relay()
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    relay.lane.on_acknowledged(FENCED)
    await turns(2)
    with pytest.raises(FencedError):
        await getattr(relay.lane, wait)()


@timeless
async def test_nothing_is_written_behind_a_refused_record() -> None:
    relay = Relay()
    relay.lane.write(b"a", urgent=True)
    relay.lane.write(b"b")
    await turns(2)
    relay.lane.write(b"c", urgent=True)
    relay.lane.on_acknowledged(FENCED)
    await pass_time(10 * FLUSH)
    assert len(relay.batches) == 1
    assert not relay.lane.has_room
    assert not relay.lane.insert_final(Token("other"), b"z", {})


@timeless
async def test_a_closed_lane_writes_nothing_more() -> None:
    relay = Relay()
    relay.lane.write(b"a")
    relay.lane.close()
    await pass_time(10 * FLUSH)
    assert relay.batches == []
    with pytest.raises(ChatmeshError, match="closed"):
        await relay.lane.wait_room()


@timeless
async def test_a_record_under_way_when_its_lane_closes_is_still_counted() -> None:
    relay = Relay(offset=3)
    relay.lane.write(b"a", urgent=True)
    await turns(2)
    relay.lane.close()
    relay.acknowledge()
    await turns(2)
    assert (relay.lane.offset, relay.lane.batches, relay.lane.in_flight) == (4, 1, None)


@timeless
async def test_the_first_reason_of_an_end_stays_the_reason() -> None:
    relay = Relay()
    relay.lane.fail(FENCED)
    relay.lane.close()
    with pytest.raises(FencedError):
        relay.lane.check()


@timeless
async def test_a_lane_asks_to_be_looked_at_once_until_it_was() -> None:
    relay = Relay()
    for _ in range(5):
        relay.lane.write(b"x", urgent=True)
    assert relay.woken == 1
    await relay.settle()


@timeless
async def test_a_generation_that_is_cancelled_while_it_waits_leaves_the_lane_in_order() -> None:
    relay = Relay(max_chunks=1)
    relay.lane.write(b"x")
    await turns(2)
    while relay.lane.has_room:
        relay.lane.write(b"x")
    waiting = asyncio.create_task(relay.lane.wait_room())
    await turns(3)
    assert not waiting.done()
    waiting.cancel()
    await turns(3)
    relay.lane.write_final(b"z")
    await relay.settle()
    await relay.lane.wait_stored()
    assert relay.batches[-1] == [b"z"]
