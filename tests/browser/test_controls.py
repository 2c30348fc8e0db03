"""What can be done on the chat page beside talking, with a mouse and without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.auth.support import add_key
from tests.browser.chat import Chat
from tests.browser.chromium import Chromium, Tab
from tests.browser.conftest import PACE
from tests.docs.pages import page
from tests.support.node import installed
from tests.support.processes import Process
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PILL = "document.getElementById('pill').textContent"
COUNTER = "document.querySelector('#plug .count').textContent"
FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.ariaLabel || document.activeElement.id"
LAST = "[...document.querySelectorAll('.turn')].at(-1)"

MARKDOWN = """\
## A *heading*

1. one `two`
2. **three**

```js
let a = "<b>";
```

| a | b |
|---|--:|
| 1 | 2 |

> said [here](https://example.org/x "there") and &amp; there

<img src=x onerror="window.isHurt = true"><script>window.isHurt = true</script>

![a picture](https://example.org/spy.png) [click](javascript:window.isHurt=true) <b onclick="window.isHurt=true">bold</b>

[data](data:text/html,<script>alert(1)</script>) ~~gone~~
"""


async def click(tab: Tab, selector: str) -> None:
    await tab.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


async def is_shown(tab: Tab, expression: str) -> bool:
    return bool(await tab.evaluate(expression))


async def wait(tab: Tab, expression: str) -> None:
    await eventually(lambda: is_shown(tab, expression), message=expression, timeout=20)


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


async def test_message_that_waits_is_stopped_before_its_turn(chromium: Chromium, server: str) -> None:
    chat = await counting(chromium, server)
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


async def test_markdown_is_shown_and_nothing_of_it_runs(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("echo")
    await chat.send(MARKDOWN)
    await chat.wait_done()
    shape: dict[str, Any] = await chat.tab.evaluate(
        "(() => { const answer = document.querySelector('.answer');"
        " const names = [...answer.querySelectorAll('*')].map((each) => each.localName);"
        " return { names: [...new Set(names)].sort(), links: [...answer.querySelectorAll('a')].map((a) => [a.href, a.rel]),"
        " code: answer.querySelector('pre code').textContent,"
        " handlers: [...answer.querySelectorAll('*')].filter((each) => each.getAttribute('onclick')).length } })()"
    )
    assert shape["names"] == sorted(
        [
            "a",
            "blockquote",
            "button",
            "code",
            "del",
            "em",
            "figcaption",
            "figure",
            "div",
            "h3",
            "li",
            "ol",
            "p",
            "pre",
            "span",
            "strong",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
        ]
    )
    rel = "noopener noreferrer nofollow"
    assert shape["links"] == [["https://example.org/x", rel], ["https://example.org/spy.png", rel]]
    assert shape["code"] == 'let a = "<b>";'
    assert shape["handlers"] == 0
    text = (await chat.turns())[0]["answer"]
    assert "& there" in text
    assert '<img src=x onerror="window.isHurt = true">' in text
    assert "<script>window.isHurt = true</script>" in text
    assert await chat.tab.evaluate("window.isHurt === undefined")
    assert chat.tab.errors == []


async def test_answer_looks_the_same_as_it_comes_and_when_it_is_loaded(
    chromium: Chromium, server: str
) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("echo")
    await chat.send(MARKDOWN * 3)
    await chat.wait_done(timeout=40)
    shape = "document.querySelector('.answer').innerHTML"
    grown = await chat.tab.evaluate(shape)
    await chat.tab.reload()
    await chat.wait_done()
    loaded = await chat.tab.evaluate(shape)
    assert loaded.replace("><", ">\n<").splitlines() == grown.replace("><", ">\n<").splitlines()


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
    chromium: Chromium, server: str
) -> None:
    chat = await counting(chromium, server)
    await chat.wait_done()
    measures = "document.querySelector('.measures').textContent"
    pattern = r"/^[\d.]+ s to the first token · (2[3-6]\.\d) tokens\/s · count$/"
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
    chromium: Chromium, server: str, http: aiohttp.ClientSession
) -> None:
    first = await counting(chromium, server)
    second = await Chat.open(chromium, f"{server}/?session={await first.session_id}")
    await second.wait_answer(longer_than=30)
    assert await readers(http, server) == 1
    await first.tab.call("Page.close")
    shown = await second.wait_done()
    assert shown[0]["answer"] == " ".join(str(number) for number in range(1, 101))
    assert await readers(http, server) == 1
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


async def test_everything_is_reached_with_the_keyboard(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.choose("echo")
    await chat.send("```js\nlet a;\n```")
    await chat.wait_done()
    reached = []
    for _ in range(12):
        await chat.tab.press("Tab")
        reached.append(await chat.tab.evaluate(FOCUSED))
    for name in ("Chats", "New chat", "Copy", "let a;", "Ask again", "Send", "Pull the plug"):
        assert name in reached, reached
    await chat.tab.evaluate("document.getElementById('open-chats').focus()")
    await chat.tab.press("Enter")
    await wait(chat.tab, "document.getElementById('chats').open")
    await chat.tab.press("Escape")
    await wait(chat.tab, "!document.getElementById('chats').open")
    assert await chat.tab.evaluate("document.activeElement.id") == "open-chats"


async def test_screen_reader_is_told_each_paragraph_once_it_is_whole(chromium: Chromium, server: str) -> None:
    chat = await Chat.open(chromium, server)
    await chat.tab.evaluate(
        "window.spoken = []; new MutationObserver((changes) => changes.forEach(({ addedNodes }) =>"
        " addedNodes.forEach((node) => spoken.push(node.textContent))))"
        ".observe(document.getElementById('voice'), { childList: true }); 1"
    )
    await chat.choose("echo")
    paragraphs = ["First one.", "Second one.", "```js\nlet a;\n```", "Fourth one."]
    await chat.send("\n\n".join(paragraphs))
    await chat.wait_done()
    await wait(chat.tab, "window.spoken.length === 4")
    assert await chat.tab.evaluate("window.spoken") == [*paragraphs[:2], "Code in js.", paragraphs[3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_axe_finds_nobody_left_out(chromium: Chromium, server: str, scheme: str, width: int) -> None:
    axe = (
        installed(Path(__file__).parent / "node", "who the page leaves out is")
        / "node_modules/axe-core/axe.min.js"
    )
    chat = await Chat.open(chromium, server)
    await chat.tab.resize(width, 800)
    await chat.tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    await chat.choose("echo")
    await chat.send(MARKDOWN)
    await chat.wait_done()
    await chat.choose("count")
    await chat.send("count")
    await chat.send("waits")
    await wait(chat.tab, "document.querySelectorAll('.answer')[1].textContent.length > 5")
    await chat.tab.evaluate(f"{axe.read_text()}; 1")
    assert await violations(chat.tab) == []
    assert await chat.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await click(chat.tab, "#open-chats")
    await wait(chat.tab, "document.querySelectorAll('#chats a').length === 1")
    assert await violations(chat.tab) == []


async def violations(tab: Tab) -> list[str]:
    """What axe-core says against the page as it is now."""
    found: list[dict[str, Any]] = await tab.evaluate("axe.run().then(({ violations }) => violations)")
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]


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


HARD = """\
Title
=====

para one
goes on

* a
  * b

    deeper

  ```py
  code in a list

  with a hole
  ```
* c

- - -

1) one

   > quoted
   > - in it

2) two

| x |
|---|
| y |
after

<div>

inside

</div>

    indented code

    more of it

Second
---
~~~
fence ``` in a fence

~~~
#### jump
last **one**
"""

# Every cut of the text into pieces of one length, and the whole: all of them have to look the same.
GROW = """
(async () => {
  const { Markdown } = await import("/page/markdown.js");
  const grown = (size) => {
    const element = document.createElement("div");
    const spoken = [];
    const markdown = new Markdown(element, (text) => spoken.push(text));
    for (let at = 0; at < TEXT.length; at += size) {
      markdown.add(TEXT.slice(at, at + size));
      markdown.draw();
    }
    markdown.end();
    return [element.innerHTML, ...spoken].join("|");
  };
  const whole = grown(TEXT.length);
  return Array.from({ length: 40 }, (_, size) => size + 1).filter((size) => grown(size) !== whole);
})()
"""


@pytest.mark.parametrize("text", [MARKDOWN * 2, HARD, HARD * 2, HARD.replace("\n", "\r\n")])
async def test_markdown_looks_the_same_in_whatever_pieces_it_comes(
    chromium: Chromium, server: str, text: str
) -> None:
    chat = await Chat.open(chromium, server)
    assert await chat.tab.evaluate(GROW.replace("TEXT", json.dumps(text))) == []
