"""The chat page in a tab, and the same session as the API tells it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import aiohttp

from tests.browser.chromium import Chromium, Tab
from tests.browser.firefox import Firefox
from tests.support.waiting import eventually

# Every text that the last answer ever had, from the page's first moment on.
_WATCH = """
window.texts = [];
new MutationObserver(() => {
  const text = [...document.querySelectorAll(".answer")].at(-1)?.textContent ?? "";
  if (text !== "" && text !== window.texts.at(-1)) window.texts.push(text);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""

# Complete: its modules have run.
_IS_READY = "document.activeElement?.id === 'text' && document.readyState === 'complete'"

_TURNS = """
[...document.querySelectorAll(".turn")].map((turn) => ({
  state: turn.dataset.state,
  said: turn.querySelector(".said").textContent,
  answer: turn.querySelector(".answer").textContent.trim(),
  note: turn.querySelector(".note").textContent,
}))
"""


class Chat:
    """A reader in front of the page: types, reads, reloads."""

    def __init__(self, tab: Tab | Firefox) -> None:
        self.tab = tab

    @classmethod
    async def open(cls, browser: Chromium | Firefox, url: str) -> Self:
        """The page at `url`, ready to type into."""
        chat = cls(browser if isinstance(browser, Firefox) else await browser.open("about:blank"))
        await chat.tab.run_first(_WATCH)
        await chat.tab.go(url)
        await eventually(
            lambda: chat.tab.evaluate(_IS_READY),
            timeout=30,
            message="the focus in the composer",
        )
        return chat

    @property
    async def session_id(self) -> str:
        """As the address bar says; empty where it does not say any."""
        address = await self.tab.evaluate("location.href")
        return parse_qs(urlsplit(address).query).get("session", [""])[0]

    async def choose(self, model: str) -> None:
        """Pick a model, once it is there to be picked."""
        await eventually(
            lambda: self.tab.evaluate(
                f"[...model.options].some(({{ value }}) => value === {json.dumps(model)})"
            ),
            timeout=30,
            message=f"the model {model} in the picker",
        )
        await self.tab.evaluate(
            f"model.value = {json.dumps(model)}; model.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        )

    async def send(self, text: str) -> None:
        """Type and send, with the keyboard."""
        await self.tab.type(text)
        await self.tab.press("Enter")

    async def turns(self) -> list[dict[str, str]]:
        """Everything that is shown: `said`, `answer`, `state` and `note` of each turn. Markdown keeps no space at the end."""
        turns: list[dict[str, str]] = await self.tab.evaluate(_TURNS)
        return turns

    async def texts(self) -> list[str]:
        """The texts that the last answer has had on this page, oldest first."""
        texts: list[str] = await self.tab.evaluate("window.texts")
        return texts

    async def wait_answer(self, *, longer_than: int, timeout: float = 10.0) -> str:  # noqa: ASYNC109 - handed on
        """The last answer, still growing, once it has more than so many characters."""

        async def look() -> str:
            turns = await self.turns()
            if not turns:
                return ""
            turn = turns[-1]
            assert turn["state"] in ("sending", "open"), f"too late to see it grow: {turn}"
            return turn["answer"] if len(turn["answer"]) > longer_than else ""

        text: str = await eventually(look, timeout=timeout, message="a growing answer")
        return text

    async def wait_done(self, *, turns: int = 1, timeout: float = 60.0) -> list[dict[str, str]]:  # noqa: ASYNC109 - handed on
        """All turns, once there are so many and every answer has ended."""

        async def look() -> Any:
            shown = await self.turns()
            assert len(shown) == turns, shown
            assert all(turn["state"] == "done" for turn in shown), shown
            return shown

        shown: list[dict[str, str]] = await eventually(look, timeout=timeout, message="the end of the answer")
        return shown


async def told(http: aiohttp.ClientSession, server: str, session_id: str) -> list[tuple[str, str]]:
    """What the API says was said: (message, answer) of every turn."""
    async with http.get(f"{server}/v1/sessions/{session_id}/messages") as response:
        rows: list[dict[str, Any]] = (await response.json())["messages"]
    return [
        (user["content"], answer["content"].strip())
        for user, answer in zip(rows[::2], rows[1::2], strict=True)
    ]


def only_grew(texts: list[str]) -> bool:
    return all(after.startswith(before) for before, after in pairwise(texts))
