"""What holds for every provider that asks a server: order, stop, ends, errors, usage, bounds. Real sockets."""

from __future__ import annotations

import asyncio
import traceback
from email.utils import formatdate
from time import time

import pytest

from chatmesh.providers import Prompt, Resume, Usage
from chatmesh.providers.base import Continuation
from tests.providers.asking import PROMPT, begun, closing, failure, said, text
from tests.providers.dialects import Dialect
from tests.providers.upstreams import END, HANG_UP, STREAM_HEAD, Step, chunked, status, stream, upstream
from tests.support.ports import free_port
from tests.support.waiting import eventually

KEY = "hunter2"


async def test_text_comes_in_order_with_its_reason_and_usage(dialect: Dialect) -> None:
    words = [f"word {number} " for number in range(200)]
    async with (
        upstream(stream(dialect.answer(*words))) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        deltas = await said(model)
    assert [delta.text for delta in deltas] == [*words, ""]
    assert [delta.finish_reason for delta in deltas] == [None] * 200 + ["stop"]
    assert deltas[-1].usage == Usage(11, 7)
    assert deltas[-1].notes == {}
    (asked,) = server.asked
    assert asked.line == f"POST {dialect.path} HTTP/1.1"
    assert (asked.body["model"], asked.body["stream"]) == ("upstream-name", True)
    assert asked.body["messages"] == [{"role": "user", "content": "hi"}]


async def test_every_split_of_an_answer_into_two_reads_gives_the_same(dialect: Dialect) -> None:
    body = dialect.answer("grün ", "🙂🙂", "\u2028x").replace(b"\n", b"\r\n")
    splits = [stream(body[:at], body[at:]) for at in range(1, len(body))]
    async with upstream(*splits) as server, closing(dialect.provider(server.url)) as model:
        for _ in splits:
            assert text(await said(model)) == "grün 🙂🙂\u2028x"
        assert server.connections == 1


async def test_one_byte_at_a_time_is_an_answer_too(dialect: Dialect) -> None:
    body = dialect.answer("sl", "öw")
    script = stream(*(body[at : at + 1] for at in range(len(body))))
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        assert text(await said(model)) == "slöw"


async def test_huge_delta_comes_whole(dialect: Dialect) -> None:
    huge = "häh" * 700_000
    async with (
        upstream(stream(dialect.answer(huge))) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        assert text(await said(model)) == huge


async def test_event_past_every_bound_is_an_error_and_no_memory(dialect: Dialect) -> None:
    script = [STREAM_HEAD, *[chunked(b"data: " + b"x" * 65_536)] * 80, None]
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        assert (await failure(model)).code == "provider_invalid"


async def test_every_reason_to_end_becomes_one_of_ours(dialect: Dialect) -> None:
    scripts = [stream(dialect.answer("x", reason=reason)) for reason in dialect.reasons]
    async with upstream(*scripts) as server, closing(dialect.provider(server.url)) as model:
        found = [(await said(model))[-1].finish_reason for _ in scripts]
    assert found == list(dialect.reasons.values())


async def test_unknown_reason_is_an_ordinary_end_and_noted(dialect: Dialect) -> None:
    script = stream(dialect.answer("x", reason="boredom"))
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        last = (await said(model))[-1]
    assert (last.finish_reason, last.notes) == ("stop", {"upstream_finish_reason": "boredom"})


# --- stop -------------------------------------------------------------------------------------------------------------


async def test_stop_of_a_silent_model_ends_its_connection_at_once(dialect: Dialect) -> None:
    script = [STREAM_HEAD, chunked(dialect.begin + dialect.say("hm ")), None]
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        heard = asyncio.Event()

        async def listen() -> None:
            async with begun(model) as deltas:
                async for _ in deltas:
                    heard.set()

        task = asyncio.create_task(listen())
        await heard.wait()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await eventually(lambda: server.left == [True])


async def test_stop_before_the_head_of_the_answer_ends_the_connection(dialect: Dialect) -> None:
    async with upstream([None]) as server, closing(dialect.provider(server.url)) as model:
        task = asyncio.create_task(said(model))
        await eventually(lambda: server.asked)
        task.cancel()
        await asyncio.wait({task})
        await eventually(lambda: server.left == [True])


async def test_who_stops_reading_ends_the_connection_and_gets_a_new_one(dialect: Dialect) -> None:
    talking = [STREAM_HEAD, chunked(dialect.begin + dialect.say("a ") + dialect.say("b ")), None]
    async with (
        upstream(talking, stream(dialect.answer("new"))) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        async with begun(model) as deltas:
            assert (await anext(deltas)).text == "a "
        # Not some time later, when the interpreter finds nobody who holds it.
        assert model._upstream._client._transport._pool.connections == []  # type: ignore[attr-defined]
        await eventually(lambda: server.left == [True])
        assert text(await said(model)) == "new"
        assert server.connections == 2


async def test_connection_is_used_again_after_a_whole_answer(dialect: Dialect) -> None:
    async with (
        upstream(stream(dialect.answer("x"))) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        for _ in range(5):
            await said(model)
        assert (server.connections, len(server.asked)) == (1, 5)


async def test_closing_the_provider_closes_its_connections(dialect: Dialect) -> None:
    async with upstream(stream(dialect.answer("x"))) as server:
        async with closing(dialect.provider(server.url)) as model:
            await said(model)
            assert server.open == 1
        await eventually(lambda: server.open == 0)


async def test_more_answers_than_connections_wait_for_one(dialect: Dialect) -> None:
    go = asyncio.Event()
    script = [STREAM_HEAD, chunked(dialect.begin), go, chunked(dialect.answer("x")), END]
    async with upstream(script) as server, closing(dialect.provider(server.url, concurrency=3)) as model:
        tasks = [asyncio.create_task(said(model)) for _ in range(9)]
        await eventually(lambda: len(server.asked) == 3)
        go.set()
        assert {text(deltas) for deltas in await asyncio.gather(*tasks)} == {"x"}
        assert (server.most_open, len(server.asked)) == (3, 9)


# --- ends that are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [END, HANG_UP, b"not a chunk\r\n"])
async def test_stream_that_ends_without_a_reason_has_failed(dialect: Dialect, ending: Step) -> None:
    script = [STREAM_HEAD, chunked(dialect.begin + dialect.say("half ")), ending]
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        error = await failure(model)
    assert error.code == "provider_incomplete"
    assert len(server.asked) == 1, "what was said can't be said anew"


async def test_end_without_done_behind_a_reason_is_an_end(dialect: Dialect) -> None:
    body = dialect.answer("whole")
    at = body.rindex(b"data: ")  # the last event only says that it is over
    body = body[:at] if dialect.name == "openai" else body[: body.rindex(b"event: message_stop")]
    async with upstream(stream(body)) as server, closing(dialect.provider(server.url)) as model:
        deltas = await said(model)
    assert (text(deltas), deltas[-1].finish_reason, deltas[-1].usage) == ("whole", "stop", Usage(11, 7))


async def test_server_that_keeps_the_body_open_behind_its_answer_does_not_hold_it_back(
    dialect: Dialect,
) -> None:
    script = [STREAM_HEAD, chunked(dialect.answer("whole")), None]
    async with upstream(script) as server, closing(dialect.provider(server.url)) as model:
        assert (await said(model))[-1].finish_reason == "stop"
        await eventually(lambda: server.left == [True])


async def test_error_in_mid_answer_is_one(dialect: Dialect) -> None:
    body = dialect.begin + dialect.say("half ") + dialect.error("overloaded_error", "come\nback  later")
    async with upstream(stream(body)) as server, closing(dialect.provider(server.url)) as model:
        error = await failure(model)
    assert error.code == "provider_overloaded"
    assert error.what.endswith(": come back later")
    assert len(server.asked) == 1


async def test_error_before_the_first_word_is_tried_again(dialect: Dialect) -> None:
    scripts = [
        stream(dialect.begin + dialect.error("overloaded_error", "later")),
        stream(dialect.answer("now")),
    ]
    async with upstream(*scripts) as server, closing(dialect.provider(server.url)) as model:
        assert text(await said(model)) == "now"


async def test_json_error_with_status_200_is_an_error(dialect: Dialect) -> None:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "no such thing"}}
    async with upstream(status(200, body)) as server, closing(dialect.provider(server.url)) as model:
        error = await failure(model)
    assert (error.code, error.what) == (
        "provider_refused",
        "the model's server refused the request: no such thing",
    )


@pytest.mark.parametrize(
    "script",
    [
        stream(b"data: {not json\n\n"),
        stream(b"data: 5\n\n"),
        stream(b"data: " + b"[" * 5000 + b"\n\n"),
        status(200, "<html>login</html>"),
        status(302, "", Location="http://127.0.0.1:1/"),
        [b"SSH-2.0-OpenSSH\r\n\r\n"],
    ],
    ids=["no json", "no object", "deep", "html", "redirect", "no http"],
)
async def test_nonsense_is_an_error_with_a_sentence(dialect: Dialect, script: list[bytes]) -> None:
    async with upstream(script) as server, closing(dialect.provider(server.url, retries=0)) as model:
        error = await failure(model)
    assert error.code in ("provider_invalid", "provider_unreachable")
    assert error.what.startswith("the model's server")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected", "tries"),
    [
        (400, "provider_refused", 1),
        (401, "provider_auth", 1),
        (403, "provider_auth", 1),
        (404, "provider_refused", 1),
        (408, "provider_timeout", 3),
        (409, "provider_overloaded", 3),
        (413, "provider_refused", 1),
        (422, "provider_refused", 1),
        (429, "provider_rate_limited", 3),
        (500, "provider_overloaded", 3),
        (502, "provider_overloaded", 3),
        (503, "provider_overloaded", 3),
        (529, "provider_overloaded", 3),
    ],
)
async def test_each_status_has_its_code_and_is_tried_again_or_not(
    dialect: Dialect, code: int, expected: str, tries: int
) -> None:
    body = {"error": {"message": f"key sk-{KEY}-Zq is no good, nor Bearer abc"}}
    async with upstream(status(code, body)) as server, closing(dialect.provider(server.url)) as model:
        error = await failure(model)
    assert (error.code, len(server.asked)) == (expected, tries)
    shown = "".join(traceback.format_exception(error)) + error.what
    assert KEY not in shown
    assert "abc" not in error.what


async def test_used_up_quota_is_not_tried_again(dialect: Dialect) -> None:
    body = {
        "error": {
            "message": "You exceeded your quota",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
        }
    }
    async with upstream(status(429, body)) as server, closing(dialect.provider(server.url)) as model:
        assert (await failure(model)).code == "provider_rate_limited"
    assert len(server.asked) == 1


@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms", "date"])
async def test_server_that_says_when_to_come_back_is_obeyed(dialect: Dialect, header: str) -> None:
    value = {"retry-after": "0", "retry-after-ms": "15", "date": formatdate(time() - 5, usegmt=True)}[header]
    name = "retry-after" if header == "date" else header
    scripts = [status(429, {}, **{name.replace("-", "_"): value}), stream(dialect.answer("now"))]
    async with upstream(*scripts) as server, closing(dialect.provider(server.url)) as model:
        assert text(await said(model)) == "now"
    assert len(server.asked) == 2


@pytest.mark.parametrize(("seconds", "total_seconds"), [("3600", 80_000), ("50", 40)])
async def test_server_that_says_to_come_back_too_late_is_not_waited_for(
    dialect: Dialect, seconds: str, total_seconds: float
) -> None:
    script = status(429, {}, Retry_After=seconds)
    async with (
        upstream(script) as server,
        closing(dialect.provider(server.url, total_seconds=total_seconds)) as model,
    ):
        assert (await failure(model)).code == "provider_rate_limited"
    assert len(server.asked) == 1


async def test_no_server_is_an_error_after_its_tries(dialect: Dialect) -> None:
    async with closing(dialect.provider(f"http://127.0.0.1:{free_port()}")) as model:
        error = await failure(model)
    assert (error.code, error.what) == ("provider_unreachable", "the model's server can't be reached")


async def test_connection_that_ends_without_an_answer_is_tried_again(dialect: Dialect) -> None:
    async with (
        upstream([HANG_UP], stream(dialect.answer("now"))) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        assert text(await said(model)) == "now"
    assert len(server.asked) == 2


async def test_key_that_is_no_header_shows_nowhere(dialect: Dialect) -> None:
    async with (
        upstream(stream(dialect.answer("x"))) as server,
        closing(dialect.provider(server.url, api_key=f"{KEY}\nX: y")) as model,
    ):
        error = await failure(model)
    assert error.code == "provider_invalid"
    assert KEY not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None


async def test_key_is_sent_as_the_api_wants_it(dialect: Dialect) -> None:
    async with upstream(stream(dialect.answer("x"))) as server:
        for key in ("abc", None):
            async with closing(dialect.provider(server.url, api_key=key)) as model:
                await said(model)
    found = [
        {name: value for name, value in asked.headers.items() if name in ("authorization", "x-api-key")}
        for asked in server.asked
    ]
    expected = {"openai": {"authorization": "Bearer abc"}, "anthropic": {"x-api-key": "abc"}}
    assert found == [expected[dialect.name], {}]


@pytest.mark.parametrize("mode", list(Continuation))
async def test_half_an_answer_is_gone_on_with_as_configured(dialect: Dialect, mode: Continuation) -> None:
    async with (
        upstream(stream(dialect.answer(" two", " three"))) as server,
        closing(dialect.provider(server.url, continuation=mode)) as model,
    ):
        assert model.continuation is mode
        resume = Resume() if mode is Continuation.RESTART else Resume("one ", 1)
        deltas = await said(model, PROMPT, resume)
    messages = server.asked[0].body["messages"]
    match mode:
        case Continuation.EXACT:
            assert messages[1:] == [{"role": "assistant", "content": "one"}]
            assert "one " + text(deltas) == "one two three"
        case Continuation.OVERLAP:
            assert messages[1] == {"role": "assistant", "content": "one "}
            assert messages[2]["role"] == "user"
            assert "Continue it from exactly where it ended" in messages[2]["content"]
        case Continuation.RESTART:
            assert messages == [{"role": "user", "content": "hi"}]


async def test_nothing_but_blanks_is_nothing_to_go_on_with(dialect: Dialect) -> None:
    for mode in (Continuation.EXACT, Continuation.OVERLAP):
        async with (
            upstream(stream(dialect.answer("x"))) as server,
            closing(dialect.provider(server.url, continuation=mode)) as model,
        ):
            await said(model, PROMPT, Resume("\n ", 1))
        assert server.asked[0].body["messages"] == [{"role": "user", "content": "hi"}]


async def test_name_that_was_asked_for_goes_to_the_server_of_a_pattern(dialect: Dialect) -> None:
    async with (
        upstream(stream(dialect.answer("x"))) as server,
        closing(dialect.provider(server.url, model=None)) as model,
    ):
        await said(model, Prompt("gpt-4o-mini", "hi"))
    assert server.asked[0].body["model"] == "gpt-4o-mini"


async def test_history_and_system_prompt_are_asked_with(dialect: Dialect) -> None:
    history = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    prompt = Prompt("m", "c", {"system_prompt": "be brief"}, history)
    async with (
        upstream(stream(dialect.answer("x"))) as server,
        closing(dialect.provider(server.url)) as model,
    ):
        await said(model, prompt)
    body = server.asked[0].body
    conversation = [*history, {"role": "user", "content": "c"}]
    if dialect.name == "openai":
        assert body["messages"] == [{"role": "system", "content": "be brief"}, *conversation]
    else:
        assert (body["system"], body["messages"]) == ("be brief", conversation)
