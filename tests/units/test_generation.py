"""One attempt: deltas become chunks, and exactly one final chunk ends them, whatever the provider does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from chatmesh.errors import FencedError, ProviderError
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.spend import Spend
from chatmesh.providers import Continuation, Delta, Prompt, Resume, Usage
from chatmesh.workflow.generation import Choice
from chatmesh.workflow.generation import generate as generate_by
from chatmesh.workflow.ledger import Ledger
from chatmesh.workflow.writing import Writing
from tests.units.generating import PROMPT, FakeLane, Scripted, digest, generate, writer
from tests.units.virtual import timeless, turns


@timeless
async def test_an_answer_is_its_deltas_and_one_final_chunk() -> None:
    lane, provider = FakeLane(), Scripted(Delta("a"), Delta("b"), Delta("", "stop"))
    assert await generate(provider, PROMPT, Resume(), lane, writer()) == "stop"
    assert lane.texts == ["a", "b", ""]
    assert [chunk["is_final"] for chunk in lane.written] == [False, False, True]
    assert lane.written[-1]["metadata"]["finish_reason"] == "stop"
    assert lane.written[-1]["metadata"]["tokens_used"] == 2


@timeless
async def test_the_first_and_the_final_chunk_do_not_wait() -> None:
    lane = FakeLane()
    await generate(
        Scripted(Delta("a"), Delta("b"), Delta("c"), Delta("", "stop")), PROMPT, Resume(), lane, writer()
    )
    assert lane.urgent == [True, False, False, True]
    assert lane.finals == 1


@timeless
@pytest.mark.parametrize("error", [ProviderError("cut", code="provider_down"), OSError("cut")])
async def test_an_answer_that_has_its_end_gets_no_other_one_where_its_model_can_not_be_closed(
    error: Exception,
) -> None:
    class Unclosed(Scripted):
        async def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
            try:
                yield Delta("a", "stop")
            finally:
                raise error

    lane, other = FakeLane(), Scripted(Delta("b", "stop"))
    choices = [Choice(Unclosed(), PROMPT), Choice(other, PROMPT)]
    assert await generate_by(choices, Resume(), Writing(lane, writer(), Ledger(1))) == "stop"
    assert lane.texts == ["a", ""]
    assert lane.finals == 1


@timeless
async def test_what_is_plainly_said_becomes_chunks_together_and_keeps_its_place_and_its_time() -> None:
    """Whatever else is encoded comes behind it: ids rise in the order of the answer."""
    lane = FakeLane()
    call = {"type": "tool_call", "index": 0, "id": "c1", "name": "look", "arguments": ""}
    said = [
        Delta("a"),
        Delta("b"),
        Delta("c"),
        Delta(data=call),
        Delta("d"),
        Delta("e", usage=Usage(1, 2)),
    ]
    encoder, ledger = writer(), Ledger(1)
    provider = Scripted(*said, Delta("", "stop"))
    await generate_by([Choice(provider, PROMPT)], Resume(), Writing(lane, encoder, ledger))
    assert [chunk["chunk_id"] for chunk in lane.written] == list(range(7))
    assert lane.texts == ["a", "b", "c", json.dumps(call, separators=(",", ":")), "d", "e", ""]
    times = [chunk["timestamp"] for chunk in lane.written]
    assert times == sorted(times)
    assert lane.written[-1]["metadata"]["digest"] == digest("abcde")
    (spent,) = ledger.spend.calls
    assert (spent.generated_tokens, spent.delivered_tokens) == (2, 2)  # as the provider has counted


@timeless
async def test_where_a_model_fails_what_it_has_said_is_known_to_the_next_one() -> None:
    lane = FakeLane()
    first = Scripted(Delta("a"), Delta("b"), Delta("c"), ProviderError("no", code="overloaded"))
    second = Scripted(Delta("d"), Delta("", "stop"))
    other = replace(PROMPT, model="n")
    await generate_by(
        [Choice(first, PROMPT), Choice(second, other)], Resume(), Writing(lane, writer(), Ledger(1))
    )
    assert second.resume == Resume("abc", 3)
    assert lane.texts == ["a", "b", "c", "d", ""]
    models = [chunk["metadata"]["model"] for chunk in lane.written]
    assert models == [PROMPT.model] * 3 + ["n"] * 2


@timeless
async def test_a_continuation_counts_on_in_ids_and_tokens() -> None:
    lane = FakeLane()
    provider = Scripted(Delta("c"), Delta("", "length"))
    await generate(provider, PROMPT, Resume("ab", 2), lane, writer(tokens=2, next_id=2))
    assert [chunk["chunk_id"] for chunk in lane.written] == [2, 3]
    assert lane.written[-1]["metadata"]["tokens_used"] == 3


@pytest.mark.parametrize("said", [[], [Delta("a")]])
@timeless
async def test_a_failing_provider_ends_the_answer_with_its_code(said: list[Delta]) -> None:
    lane = FakeLane()
    provider = Scripted(*said, ProviderError("too many", code="rate_limited"))
    assert await generate(provider, PROMPT, Resume(), lane, writer()) == "error"
    final = lane.written[-1]
    assert (final["chunk_type"], final["is_final"]) == ("error", True)
    assert final["error"] == {"code": "rate_limited", "message": "too many"}
    assert lane.finals == 1
    assert len(lane.written) == len(said) + 1


@timeless
async def test_a_provider_that_ends_without_a_reason_has_failed() -> None:
    lane = FakeLane()
    assert await generate(Scripted(Delta("a")), PROMPT, Resume(), lane, writer()) == "error"
    assert lane.written[-1]["error"]["code"] == "provider_incomplete"


@timeless
async def test_nothing_is_written_behind_a_finish_reason() -> None:
    lane, provider = FakeLane(), Scripted(Delta("a"), Delta("", "stop"), Delta("late"), Delta("", "stop"))
    await generate(provider, PROMPT, Resume(), lane, writer())
    assert lane.texts == ["a", ""]
    assert provider.is_closed


@timeless
async def test_a_delta_larger_than_a_message_is_several_chunks_and_one_token() -> None:
    lane = FakeLane()
    provider = Scripted(Delta("abcde"), Delta("", "stop"))
    await generate(provider, PROMPT, Resume(), lane, writer(max_text=2))
    assert lane.texts == ["ab", "cd", "e", ""]
    assert lane.written[-1]["metadata"]["tokens_used"] == 1


@timeless
async def test_a_provider_waits_for_room_and_goes_on() -> None:
    lane = FakeLane(room=2)
    deltas = [Delta(str(number)) for number in range(5)]
    await generate(Scripted(*deltas, Delta("", "stop")), PROMPT, Resume(), lane, writer())
    assert lane.texts == ["0", "1", "2", "3", "4", ""]
    assert lane.waits > 0


@timeless
async def test_a_lost_session_ends_the_attempt_without_a_final_chunk_and_closes_the_provider() -> None:
    lane = FakeLane(room=2, on_full=FencedError("another worker", code=10071))
    provider = Scripted(*(Delta(str(number)) for number in range(5)))
    with pytest.raises(FencedError):
        await generate(provider, PROMPT, Resume(), lane, writer())
    assert lane.finals == 0
    assert provider.is_closed


@timeless
async def test_a_crash_of_the_provider_is_no_answer() -> None:
    lane, provider = FakeLane(), Scripted(Delta("a"), ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await generate(provider, PROMPT, Resume(), lane, writer())
    assert lane.finals == 0
    assert provider.is_closed


@timeless
async def test_a_cancelled_attempt_closes_a_silent_provider_and_writes_nothing_more() -> None:
    class Silent(Scripted):
        async def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
            try:
                yield Delta("a")
                await asyncio.Event().wait()
            finally:
                self.is_closed = True

    lane, provider = FakeLane(), Silent()
    work = asyncio.create_task(generate(provider, PROMPT, Resume(), lane, writer()))
    await turns(5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert provider.is_closed
    assert lane.texts == ["a"]


@timeless
async def test_text_in_the_last_delta_is_a_chunk_of_its_own() -> None:
    lane = FakeLane()
    await generate(Scripted(Delta("a"), Delta("b", "length")), PROMPT, Resume(), lane, writer())
    assert lane.texts == ["a", "b", ""]
    assert lane.written[-1]["metadata"]["tokens_used"] == 2


@timeless
async def test_the_final_chunk_has_the_digest_of_everything_shown_of_earlier_attempts_too() -> None:
    lane = FakeLane()
    provider = Scripted(Delta("c\ud800"), Delta("", "stop"))
    await generate(provider, PROMPT, Resume("ab", 2), lane, writer(tokens=2, next_id=2, told="ab"))
    assert lane.written[-1]["metadata"]["digest"] == digest("abc\ufffd")


@timeless
async def test_a_provider_that_can_only_restart_takes_back_what_was_shown_with_its_first_chunk() -> None:
    lane = FakeLane()
    provider = Scripted(Delta("x"), Delta("y"), Delta("", "stop"), continuation=Continuation.RESTART)
    await generate(provider, PROMPT, Resume("ab", 2), lane, writer(tokens=2, next_id=2, told="ab"))
    assert provider.resume == Resume()
    assert lane.resets == [(0, "restarted")]
    assert [chunk["chunk_id"] for chunk in lane.written] == [2, 3, 4]
    assert lane.written[-1]["metadata"]["tokens_used"] == 2
    assert lane.written[-1]["metadata"]["digest"] == digest("xy")


@pytest.mark.parametrize("failure", [ProviderError("no", code="rate_limited"), asyncio.CancelledError()])
@timeless
async def test_what_was_shown_stays_where_a_restart_says_nothing(failure: BaseException) -> None:
    lane = FakeLane()
    encoder = writer(tokens=2, next_id=2, told="ab")
    provider = Scripted(failure, continuation=Continuation.RESTART)  # type: ignore[arg-type]
    with suppress(asyncio.CancelledError):
        await generate(provider, PROMPT, Resume("ab", 2), lane, encoder)
    assert not lane.resets
    assert json.loads(encoder.final("cancelled", 0.0, Spend()))["metadata"]["digest"] == digest("ab")


@timeless
async def test_a_provider_that_restarts_has_nothing_to_take_back_in_the_first_attempt() -> None:
    lane = FakeLane()
    provider = Scripted(Delta("x"), Delta("", "stop"), continuation=Continuation.RESTART)
    await generate(provider, PROMPT, Resume(), lane, writer())
    assert not lane.resets


@timeless
async def test_a_repetition_of_what_was_shown_is_trimmed() -> None:
    lane = FakeLane()
    said = ["was shown ", "last, ", "and more", "."]
    provider = Scripted(*map(Delta, said), Delta("", "stop"), continuation=Continuation.OVERLAP)
    await generate(
        provider, PROMPT, Resume("This was shown last, ", 4), lane, writer(told="This was shown last, ")
    )
    assert "".join(lane.texts) == "and more."
    assert lane.written[-1]["metadata"]["digest"] == digest("This was shown last, and more.")


@timeless
async def test_thoughts_in_front_of_a_repetition_do_not_let_it_through() -> None:
    thought = Delta(data={"type": "reasoning", "text": "hm"})
    provider = Scripted(
        thought,
        Delta("shown last, "),
        Delta("and more."),
        Delta("", "stop"),
        continuation=Continuation.OVERLAP,
    )
    lane = FakeLane()
    await generate(
        provider, PROMPT, Resume("This was shown last, ", 4), lane, writer(told="This was shown last, ")
    )
    assert lane.texts[1:] == ["and more.", ""]


@timeless
async def test_structured_pieces_are_metadata_chunks_in_their_place_and_no_text() -> None:
    call = {"type": "tool_call", "index": 0, "id": "c1", "name": "look", "arguments": ""}
    lane = FakeLane()
    await generate(
        Scripted(Delta("a"), Delta(data=call), Delta("", "tool_calls")), PROMPT, Resume(), lane, writer()
    )
    assert [chunk["chunk_type"] for chunk in lane.written] == ["content", "metadata", "content"]
    assert json.loads(lane.texts[1]) == call
    assert lane.written[-1]["metadata"]["digest"] == digest("a")
    assert lane.written[-1]["metadata"]["tokens_used"] == 1


@pytest.mark.parametrize("data", [{"type": "reasoning", "text": "x" * 200}, {"type": object()}])
@timeless
async def test_a_structured_piece_that_is_no_json_or_too_large_ends_the_answer(data: dict[str, Any]) -> None:
    lane = FakeLane()
    assert await generate(Scripted(Delta(data=data)), PROMPT, Resume(), lane, writer()) == "error"
    assert lane.written[-1]["error"]["code"] == "provider_invalid"


@timeless
async def test_the_last_usage_and_every_note_stand_in_the_final_chunk() -> None:
    lane = FakeLane()
    deltas = [
        Delta("a", usage=Usage(5, 1)),
        Delta("b", usage=Usage(5, 2, {"cached_tokens": 3}), notes={"dropped": ["top_k"]}),
        Delta("", "stop"),
    ]
    await generate(Scripted(*deltas), PROMPT, Resume(), lane, writer())
    metadata = lane.written[-1]["metadata"]
    assert metadata["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "cached_tokens": 3,
    }
    assert metadata["dropped"] == ["top_k"]


@timeless
async def test_what_nobody_can_go_on_behind_is_taken_back_whatever_the_provider_can() -> None:
    lane = FakeLane()
    provider = Scripted(Delta("x"), Delta("", "stop"))
    resume = Resume("ab", 2, is_void=True)
    await generate(provider, PROMPT, resume, lane, writer(tokens=2, next_id=4, told="ab"))
    assert provider.resume == Resume()
    assert lane.resets == [(0, "restarted")]
    assert lane.written[-1]["metadata"]["digest"] == digest("x")


FAILED = ProviderError("the server is gone", code="provider_unreachable")


async def by_two(
    first: Any, second: Any, lane: FakeLane, encoder: ChunkEncoder, resume: Resume | None = None
) -> str:
    choices = [Choice(first, Prompt("one", "hi")), Choice(second, Prompt("two", "hi"))]
    return await generate_by(choices, resume or Resume(), Writing(lane, encoder, Ledger(1)))


@timeless
async def test_another_model_answers_where_the_first_one_fails_before_it_begins() -> None:
    lane, second = FakeLane(), Scripted(Delta("a"), Delta("", "stop"))
    assert await by_two(Scripted(FAILED), second, lane, writer()) == "stop"
    assert second.resume == Resume()
    assert [chunk["metadata"]["model"] for chunk in lane.written] == ["two", "two"]
    assert lane.written[-1]["metadata"]["failed_over"] == [{"model": "one", "code": "provider_unreachable"}]


@timeless
async def test_another_model_goes_on_in_mid_answer_behind_all_that_was_shown() -> None:
    lane, second = FakeLane(), Scripted(Delta("c"), Delta("", "stop"))
    first = Scripted(Delta("b"), FAILED)
    assert await by_two(first, second, lane, writer(told="a", tokens=1, next_id=1), Resume("a", 1)) == "stop"
    assert second.resume == Resume("ab", 2)
    assert [chunk["chunk_id"] for chunk in lane.written] == [1, 2, 3]
    assert [chunk["metadata"]["model"] for chunk in lane.written] == ["one", "two", "two"]
    assert lane.written[-1]["metadata"]["digest"] == digest("abc")
    assert not lane.resets


@timeless
async def test_another_model_that_can_only_begin_anew_takes_back_what_was_shown_after_it_is_stored() -> None:
    lane = FakeLane()
    second = Scripted(Delta("new"), Delta("", "stop"), continuation=Continuation.RESTART)
    await by_two(Scripted(Delta("old"), FAILED), second, lane, writer())
    assert lane.resets == [(1, "restarted")]
    assert lane.stored_at == [1]
    assert lane.written[-1]["metadata"]["digest"] == digest("new")


@timeless
async def test_half_a_tool_call_of_one_model_is_taken_back_before_another_one_speaks() -> None:
    lane, second = FakeLane(), Scripted(Delta("text"), Delta("", "stop"))
    call = Delta(data={"type": "tool_call", "index": 0, "name": "look"})
    await by_two(Scripted(call, FAILED), second, lane, writer())
    assert second.resume == Resume()
    assert lane.resets == [(1, "restarted")]


@timeless
async def test_failure_that_is_the_requests_own_asks_nobody_else() -> None:
    lane, second = FakeLane(), Scripted(Delta("", "stop"))
    refused = Scripted(ProviderError("no", code="provider_refused"))
    assert await by_two(refused, second, lane, writer()) == "error"
    assert second.resume is None
    assert lane.written[-1]["error"]["code"] == "provider_refused"


@timeless
async def test_failure_of_the_last_one_is_the_answer() -> None:
    lane = FakeLane()
    last = ProviderError("late", code="provider_timeout")
    assert await by_two(Scripted(Delta("a"), FAILED), Scripted(Delta("b"), last), lane, writer()) == "error"
    assert lane.texts == ["a", "b", ""]
    assert lane.written[-1]["error"]["code"] == "provider_timeout"
