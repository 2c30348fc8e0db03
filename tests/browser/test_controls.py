"""What can be done on the chat page beside talking, with a mouse and without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.auth.support import add_key
from tests.browser.chat import Chat
from tests.browser.chromium import Chromium
from tests.browser.conftest import PACE
from tests.browser.doing import LAST, MARKDOWN, click, wait
from tests.docs.pages import page
from tests.support.processes import Process

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PILL = "document.getElementById('pill').textContent"
COUNTER = "document.querySelector('#plug .count').textContent"


async def readers(http: aiohttp.ClientSession, server: str) -> float:
    async with http.get(f"{server}/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("chatmesh_readers "))


async def counting(chromium: Chromium, server: str) -> Chat:
    """A chat in whose only answer numbers come."""
    chat = await Chat.open(chromium, server)
    await chat.choose("count")
    await chat.send("count")
    await chat.wait_answer(longer_than=20)
    return chat


@pytest.mark.parametrize("way", ["button", "turn", "key"])
async def test_answer_is_stopped_at_the_server_and_keeps_its_text(
    chromium: Chromium, server: str, http: aiohttp.ClientSession, way: str
) -> None:
    chat = await counting(chromium, server)
    if way == "key":
        await chat.tab.press("Escape")
    else:
        await click(chat.tab, "#stop" if way == "button" else ".turn .stop")
    await wait(chat.tab, f"{LAST}.dataset.state === 'stopped'")
    (shown,) = await chat.turns()
    async with http.get(f"{server}/v1/sessions/{await chat.session_id}/messages") as response:
        (_, row) = (await response.json())["messages"]
    assert (row["status"], row["content"].strip()) == ("stopped", shown["answer"])
    assert shown["note"] == "Stopped."
    assert not shown["answer"].endswith("100")
    assert await chat.tab.evaluate("document.getElementById('stop').hidden")
    assert chat.tab.errors == []


async def test_message_that_waits_is_stopped_before_its_turn(chromium: Chromium, slow_server: str) -> None:
    chat = await counting(chromium, slow_server)
    await chat.send("second")
    await chat.send("third")
    await wait(
        chat.tab, f"{LAST}.querySelector('.note').textContent === 'Waiting for its turn: 2 are before it'"
    )
    await chat.tab.evaluate("document.querySelectorAll('.turn')[1].querySelector('.stop').click()")
    await wait(chat.tab, "document.querySelectorAll('.turn')[1].dataset.state === 'stopped'")
    await wait(chat.tab, f"{LAST}.querySelector('.note').textContent === 'Waiting for its turn: it is next'")
    assert chat.tab.errors == []


async def test_asking_again_is_a_new_message_with_what_was_said_before(
    chromium: Chromium, server: str
) -> None:
    chat = await Chat.open(chromium, server)
    await chat.tab.evaluate(
        "window.bodies = []; const own = fetch;"
        "window.fetch = (url, options) => { if (options?.body) bodies.push(JSON.parse(options.body));"
        " return own(url, options); }; 1"
    )
    await chat.choose("echo")
    await chat.send("first")
    await chat.wait_done()
    await chat.send("second")
    await chat.wait_done(turns=2)
    await chat.tab.evaluate(f"{LAST}.querySelector('.again').click()")
    shown = await chat.wait_done(turns=3)
    assert [turn["said"] for turn in shown] == ["first", "second", "second"]
    bodies: list[dict[str, Any]] = await chat.tab.evaluate("window.bodies")
    assert bodies[2]["message_id"] != bodies[1]["message_id"]
    assert bodies[2]["context"]["conversation_history"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "first"},
    ]
    assert chat.tab.errors == []


async def test_code_and_answers_are_copied(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.tab.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }; 1")
    await chat.choose("echo")
    await chat.send(MARKDOWN)
    await chat.wait_done()
    await click(chat.tab, ".code .quiet")
    await wait(chat.tab, "window.copied === 'let a = \"<b>\";'")
    await wait(chat.tab, "document.querySelector('.code .quiet').textContent === 'Copied'")
    await click(chat.tab, ".foot .copy")
    await wait(
        chat.tab,
        f"window.copied === {json.dumps(MARKDOWN)}.trim() || window.copied === {json.dumps(MARKDOWN)}",
    )


async def test_time_to_the_first_token_and_tokens_per_second_stand_under_an_answer_also_when_it_is_loaded(
    chromium: Chromium, server: str, http: aiohttp.ClientSession
) -> None:
    chat = await counting(chromium, server)
    await chat.wait_done()
    measures = "document.querySelector('.measures').textContent"
    async with http.get(f"{server}/v1/sessions/{await chat.session_id}/messages") as response:
        row = (await response.json())["messages"][1]
    took = datetime.fromisoformat(row["ended_at"]) - datetime.fromisoformat(row["created_at"])
    rate = f"{99 / took.total_seconds():.1f}".replace(".", r"\.")
    pattern = rf"/^[\d.]+ s to the first token · {rate} tokens\/s · count$/"
    assert await chat.tab.evaluate(f"{pattern}.test({measures})"), await chat.tab.evaluate(measures)
    await chat.tab.reload()
    await chat.wait_done()
    assert await chat.tab.evaluate(f"{pattern}.test({measures})"), await chat.tab.evaluate(measures)


async def test_plug_that_is_pulled_loses_nothing(chromium: Chromium, server: str) -> None:
    chat = await counting(chromium, server)
    await click(chat.tab, "#plug button")
    await wait(chat.tab, f"{PILL} === 'resumed'")
    await click(chat.tab, "#plug button")
    shown = await chat.wait_done()
    assert shown[0]["answer"] == " ".join(str(number) for number in range(1, 101))
    await wait(chat.tab, f"{COUNTER} === 'chunks 1–101, lost 0, repeated 0'")
    await wait(chat.tab, f"{PILL} === 'live'")
    assert chat.tab.errors == []


async def test_worker_that_is_killed_in_mid_answer_goes_on_behind_what_was_shown(
    chromium: Chromium, server: str, http: aiohttp.ClientSession
) -> None:
    chat = await counting(chromium, server)
    await click(chat.tab, "#plug button:nth-of-type(2)")
    (shown,) = await chat.wait_done()
    assert shown["answer"] == " ".join(str(number) for number in range(1, 101))
    await wait(chat.tab, f"{COUNTER} === 'chunks 1–101, lost 0, repeated 0'")
    async with http.get(f"{server}/v1/sessions/{await chat.session_id}/messages") as response:
        assert (await response.json())["messages"][1]["attempt"] == 2
    assert chat.tab.errors == []


async def test_two_tabs_have_one_connection_and_it_goes_on_when_either_is_closed(
    chromium: Chromium, slow_server: str, http: aiohttp.ClientSession
) -> None:
    first = await counting(chromium, slow_server)
    second = await Chat.open(chromium, f"{slow_server}/?session={await first.session_id}")
    await second.wait_answer(longer_than=30)
    assert await readers(http, slow_server) == 1
    await first.tab.call("Page.close")
    shown = await second.wait_done()
    assert shown[0]["answer"] == " ".join(str(number) for number in range(1, 101))
    assert await readers(http, slow_server) == 1
    assert second.tab.errors == []


async def test_page_on_plain_http_away_from_this_machine_has_a_connection_for_each_tab(
    chromium: Chromium, server: str, http: aiohttp.ClientSession
) -> None:
    first = await Chat.open(chromium, server)
    address = f"{server}/?session={await first.session_id}"
    tabs = [await chromium.open("about:blank"), await chromium.open("about:blank")]
    await first.tab.call("Page.close")
    for tab in tabs:
        # What browsers keep from a page that came in clear.
        await tab.run_first(
            "for (const name of ['locks', 'clipboard']) Object.defineProperty(Navigator.prototype, name, { value: undefined });"
            "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });"
        )
        await tab.go(address)
        await wait(tab, f"{PILL} === 'live'")
    chat, other = Chat(tabs[0]), Chat(tabs[1])
    await chat.choose("echo")
    await chat.send("in clear")
    assert (await chat.wait_done())[0]["answer"] == (await other.wait_done())[0]["answer"] == "in clear"
    assert await readers(http, server) == 2
    await chat.tab.evaluate(
        "document.execCommand = (name) => (window.copied = [name, document.activeElement.value])"
    )
    await click(chat.tab, ".foot .copy")
    await wait(chat.tab, "window.copied?.join() === 'copy,in clear'")


async def test_chats_are_listed_by_what_was_said_last(chromium: Chromium, server: str) -> None:
    for words in ("the older one", "the newer one"):
        chat = await Chat.open(chromium, server)
        await chat.choose("echo")
        await chat.send(words)
        await chat.wait_done()
    await click(chat.tab, "#open-chats")
    titles = "[...document.querySelectorAll('#chats a span')].map((each) => each.textContent).join()"
    await wait(chat.tab, f"{titles} === 'the newer one,the older one'")
    assert await chat.tab.evaluate(
        "document.querySelector('#chats [aria-current]').textContent.startsWith('the newer')"
    )
    await chat.tab.evaluate("document.querySelectorAll('#chats a')[1].click()")
    await wait(chat.tab, "document.querySelector('.answer')?.textContent === 'the older one'")
    assert chat.tab.errors == []


async def test_page_of_a_server_that_asks_who_is_calling_asks_once(
    chromium: Chromium, chatmesh: Callable[..., Process], tmp_path: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    _, key = add_key(keys, "alice")
    auth = ("--set", "auth.mode=api_keys", "--set", f"auth.keys_file={keys}")
    process = chatmesh("dev", "--ephemeral", "--port", "0", *PACE, *auth)
    url = (await process.wait_for_line(r"Chat page\s+(http://\S+)/"))[1]
    tab = await chromium.open(url)
    await wait(tab, "document.getElementById('key').open")
    await tab.type("cm_wrong_key")
    await tab.press("Enter")
    await wait(tab, "document.querySelector('#key .reason').textContent !== ''")
    await tab.type(key)
    await tab.press("Enter")
    await wait(tab, f"!document.getElementById('key').open && {PILL} === 'live'")
    chat = Chat(tab)
    await chat.choose("echo")
    await tab.evaluate("text.focus()")
    await chat.send("let me in")
    await chat.wait_done()
    await tab.reload()
    await chat.wait_done()
    assert not await tab.evaluate("document.getElementById('key').open")


async def test_snippet_of_the_docs_shows_the_answer(chromium: Chromium, server: str) -> None:
    (snippet,) = page("docs/browser.md").blocks("js client")
    told, *rest = snippet.splitlines()
    program = "\n".join(
        [told.replace("import", "const").replace(' from "', ' = await import("').replace('";', '");'), *rest]
    )
    tab = await chromium.open(server)
    await wait(tab, f"{PILL} === 'live'")
    texts = await tab.evaluate(
        f"(async () => {{ const texts = []; const console = {{ log: (text) => texts.push(text) }};\n{program}\nreturn texts }})()"
    )
    assert texts[-1] == "one two three"
    assert tab.errors == []


# Every cut of the text into pieces of one length, and the whole: all of them have to look the same.
