"""The chat page, as a reader in a real browser sees it."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest

from tests.browser.chat import Chat, only_grew, told
from tests.browser.chromium import Chromium
from tests.browser.conftest import PACE
from tests.support.processes import Process, free_port
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

COUNTED = " ".join(str(number) for number in range(1, 101))


_LEFT = "(document.documentElement.scrollHeight - innerHeight - scrollY)"


async def test_answer_grows_and_ends_as_the_history_tells_it(
    chromium: Chromium, server: str, http: aiohttp.ClientSession
) -> None:
    chat = await Chat.open(chromium, server)
    message = "Why <b>durable</b> streams? 🌊"
    await chat.send(message)
    await chat.wait_answer(longer_than=0)
    shown = await chat.wait_done()
    texts = await chat.texts()
    assert len(texts) > 10
    assert only_grew(texts)
    assert shown[0]["said"] == message
    assert shown[0]["answer"].endswith(f"You wrote: {message}")
    assert [(turn["said"], turn["answer"]) for turn in shown] == await told(
        http, server, await chat.session_id
    )
    assert chat.tab.errors == []


async def test_chat_that_is_erased_elsewhere_is_gone_from_the_page_too(
    chromium: Chromium, server: str, http: aiohttp.ClientSession
) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("count")
    await chat.send("count")
    await chat.wait_answer(longer_than=0)
    await chat.send("behind it")

    async def waits() -> bool:
        return [turn["note"] for turn in await chat.turns()][1:] == ["Waiting for its turn: it is next"]

    await eventually(waits, message="the second one in the queue")
    async with http.delete(f"{server}/v1/sessions/{await chat.session_id}") as answer:
        assert answer.status == 202

    async def is_gone() -> bool:
        return await chat.turns() == []

    await eventually(is_gone, timeout=20, message="an empty page")
    await chat.send("count again")
    shown = await chat.wait_done()
    assert [(turn["said"], turn["answer"]) for turn in shown] == [("count again", COUNTED)]
    # That what was erased is unknown is how it finds out, and a browser writes it down.
    assert all("404 (Not Found)" in error for error in chat.tab.errors), chat.tab.errors


async def test_reload_in_mid_answer_goes_on_at_the_exact_chunk(
    chromium: Chromium, slow_server: str, http: aiohttp.ClientSession
) -> None:
    chat = await Chat.open(chromium, slow_server)
    session_id = await chat.session_id
    await chat.choose("count")
    await chat.send("count")
    for _ in range(2):
        before = await chat.wait_answer(longer_than=0)
        await chat.tab.reload()
        after = await chat.wait_answer(longer_than=len(before))
        assert after.startswith(before)
    shown = await chat.wait_done()
    assert shown[0]["answer"] == COUNTED
    assert only_grew(await chat.texts())
    assert await told(http, slow_server, session_id) == [("count", COUNTED)]
    assert await chat.session_id == session_id
    assert chat.tab.errors == []


async def test_second_tab_shows_the_same(
    chromium: Chromium, slow_server: str, http: aiohttp.ClientSession
) -> None:
    first = await Chat.open(chromium, slow_server)
    session_id = await first.session_id
    await first.choose("count")
    await first.send("before")
    await first.wait_answer(longer_than=0)
    second = await Chat.open(chromium, f"{slow_server}/?session={session_id}")
    await second.wait_answer(longer_than=0)
    # The second asks while the first is answered: it waits there, and appears here when its answer begins.
    await second.choose("echo")
    await second.send("from the other tab")
    await eventually(
        lambda: _note(second, "Waiting for its turn: it is next"), message="a message that waits"
    )
    await eventually(
        lambda: _note(first, "Waiting for its turn: it is next"), message="the same in the first tab"
    )
    shown = await first.wait_done(turns=2)
    await eventually(lambda: _same(first, second), message="the same in both tabs")
    assert [(turn["said"], turn["answer"]) for turn in shown] == [
        ("before", COUNTED),
        ("from the other tab", "from the other tab"),
    ]
    assert [(turn["said"], turn["answer"]) for turn in shown] == await told(http, slow_server, session_id)
    assert first.tab.errors + second.tab.errors == []


@pytest.mark.slow
async def test_answer_goes_on_when_its_server_was_killed_and_came_back(
    chromium: Chromium, chatmesh: Callable[..., Process]
) -> None:
    port = free_port()
    start = ("dev", "--data", "data", "--port", str(port), *PACE)
    process = chatmesh(*start)
    await process.wait_for_line("Chat page")
    chat = await Chat.open(chromium, f"http://127.0.0.1:{port}/")
    await chat.choose("count")
    await chat.send("count")
    await chat.wait_answer(longer_than=20)
    process.kill()
    pill = "document.getElementById('pill').textContent"
    await eventually(lambda: chat.tab.evaluate(f"{pill} === 'reconnecting…'"))
    # Said while nobody listens: sent as soon as somebody does, once.
    await chat.choose("echo")
    await chat.send("still there?")
    await chatmesh(*start).wait_for_line("Chat page")
    shown = await chat.wait_done(turns=2, timeout=30)
    assert [turn["answer"] for turn in shown] == [COUNTED, "still there?"]
    await eventually(lambda: chat.tab.evaluate(f"{pill} === 'live'"))
    await chat.tab.reload()
    assert await chat.wait_done(turns=2) == shown


async def test_enter_sends_but_not_with_shift_nor_while_composing(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("echo")
    await chat.tab.type("one")
    await chat.tab.press("Enter", shift=True)
    await chat.tab.call("Input.imeSetComposition", text="ni", selectionStart=2, selectionEnd=2)
    await chat.tab.evaluate(
        "text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, cancelable: true }))"
    )
    await chat.tab.type("two")
    assert await chat.turns() == []
    await chat.tab.press("Enter")
    shown = await chat.wait_done()
    assert shown[0]["said"] == shown[0]["answer"] == "one\ntwo"
    assert chat.tab.errors == []


async def test_refused_message_says_why_and_comes_back_into_the_composer(
    chromium: Chromium, server: str
) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("echo")  # once it can be chosen, all that is served is in the picker
    await chat.tab.evaluate("model.append(new Option('oracle', 'oracle'))")
    await chat.choose("oracle")
    await chat.send("Will it rain?")
    await eventually(lambda: _note(chat, "Not sent: No worker serves the model 'oracle'"))
    assert (await chat.turns())[0]["state"] == "refused"
    assert await chat.tab.evaluate("text.value") == "Will it rain?"
    await chat.choose("echo")
    await chat.tab.press("Enter")
    shown = await chat.wait_done()
    assert shown[0]["answer"] == "Will it rain?"


@pytest.mark.slow
async def test_page_shows_what_is_left_when_its_server_lost_everything(
    chromium: Chromium, chatmesh: Callable[..., Process]
) -> None:
    port = free_port()
    start = ("dev", "--ephemeral", "--port", str(port))
    process = chatmesh(*start)
    await process.wait_for_line("Chat page")
    chat = await Chat.open(chromium, f"http://127.0.0.1:{port}/")
    await chat.choose("echo")
    await chat.send("soon forgotten")
    await chat.wait_done()
    process.kill()
    await chatmesh(*start).wait_for_line("Chat page")
    await eventually(lambda: _is_empty(chat), message="an empty page")
    await chat.send("once more")
    shown = await chat.wait_done()
    assert shown[0]["answer"] == "once more"


async def test_text_scrolls_only_for_a_reader_at_its_end(chromium: Chromium, slow_server: str) -> None:
    chat = await Chat.open(chromium, slow_server)
    await chat.tab.resize(400, 500)
    await chat.choose("count")
    await chat.send("\n".join(["a tall message"] * 40))
    text = await chat.wait_answer(longer_than=0)
    await eventually(lambda: chat.tab.evaluate(f"scrollY > 0 && {_LEFT} < 2"), message="the end of the page")
    await chat.tab.turn_wheel(-120)
    await eventually(lambda: chat.tab.evaluate(f"{_LEFT} > 60"), message="a scrolled page")
    await chat.wait_answer(longer_than=len(text) + 80)
    # Smooth scrolling may still have been under way; what counts is that nothing took the reader down again.
    assert await chat.tab.evaluate(f"{_LEFT} > 60")
    await chat.tab.turn_wheel(9999)
    await chat.wait_done()
    await eventually(lambda: chat.tab.evaluate(f"{_LEFT} < 2"), message="the end of the page")


async def test_new_chat_begins_another_session(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    session_id = await chat.session_id
    await chat.choose("echo")
    await chat.send("here")
    await chat.wait_done()
    await chat.tab.evaluate("document.querySelector('nav a').click()")
    await eventually(lambda: _left(chat, session_id), message="another session")
    await eventually(lambda: chat.tab.evaluate("!document.getElementById('hello').hidden"))
    assert await chat.turns() == []
    assert chat.tab.errors == []


async def _note(chat: Chat, text: str) -> bool:
    return any(turn["note"].startswith(text) for turn in await chat.turns())


async def _is_empty(chat: Chat) -> bool:
    return await chat.turns() == []


async def _same(first: Chat, second: Chat) -> bool:
    return await first.turns() == await second.turns()


async def _left(chat: Chat, session_id: str) -> bool:
    return await chat.session_id not in ("", session_id)
