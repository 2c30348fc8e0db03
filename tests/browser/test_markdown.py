"""Markdown on the chat page: shown as it comes, in whatever pieces, and nothing of it runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.chat import Chat
from tests.browser.chromium import Chromium
from tests.browser.doing import MARKDOWN

pytestmark = [pytest.mark.browser, pytest.mark.slow]


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
