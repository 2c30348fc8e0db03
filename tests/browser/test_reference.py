"""The API's page at `/docs`: all of `/openapi.json`, for everybody, and requests that work as they stand there."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.browser.chromium import Chromium, Tab
from tests.browser.doing import click, wait
from tests.browser.test_reach import violations
from tests.support.node import installed, missing
from tests.support.processes import Process

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_SHOWN = """
[...document.querySelectorAll(".operation")].map((section) => ({
  id: section.id,
  head: section.querySelector("h3").textContent,
  summary: section.querySelector(".summary").textContent,
  group: (() => { let node = section; while (node.tagName !== "H2") node = node.previousElementSibling; return node.textContent; })(),
  parameters: [...section.querySelectorAll(".fields > li > .name")].map(({ textContent }) => textContent),
  request: section.querySelector(".code pre").textContent,
}))
"""

_OPEN_ALL = """
(async () => {
  for (let closed; (closed = document.querySelectorAll("main details:not([open])")).length; ) {
    for (const each of closed) each.open = true;
    await new Promise((done) => setTimeout(done)); // the event that fills it is a task of its own
  }
  return document.querySelectorAll("main details:not(:has(> :nth-child(2)))").length;
})()
"""


@pytest.fixture
async def tab(chromium: Chromium, server: str) -> Tab:
    """The page, once it is whole."""
    tab = await chromium.open(f"{server}/docs")
    await wait(tab, "document.querySelector('.operation') !== null")
    return tab


def operations(document: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


async def test_every_operation_is_shown_in_its_group_with_all_that_it_takes(
    tab: Tab, server: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{server}/openapi.json") as answer:
        known = operations(await answer.json())
    shown: list[dict[str, Any]] = await tab.evaluate(_SHOWN)
    assert sorted(each["id"] for each in shown) == sorted(known)
    for each in shown:
        method, path, operation = known[each["id"]]
        assert each["head"] == f"{method.upper()} {path}"
        assert each["summary"] == operation["summary"].replace("`", "")
        assert each["group"] == operation["tags"][0]
        assert {p["name"] for p in operation.get("parameters", [])} <= set(each["parameters"])
    links = await tab.evaluate(
        "[...document.querySelectorAll('#contents a')].map(({ hash }) => hash.slice(1))"
    )
    assert sorted(links) == sorted(known)
    assert tab.errors == []


async def test_requests_on_the_page_work_as_they_stand_there(tab: Tab) -> None:
    curl = shutil.which("curl") or missing("curl is missing: requests of the page are not tested")
    assert curl is not None
    shown: list[dict[str, Any]] = await tab.evaluate(_SHOWN)
    requests = {each["id"]: each["request"] for each in shown}
    answers = {}
    # In an order in which there is something to read, to follow and to erase.
    for name in ("postMessage", "getMessages", "getMessage", "stopMessage", "createChatCompletion",
                 "createResponse", "postChat", "listModels", "getReadiness", "eraseSession"):  # fmt: skip
        line = f"{requests[name]} -o /dev/null -w '%{{http_code}}'"
        program = await asyncio.create_subprocess_exec("bash", "-c", line, stdout=asyncio.subprocess.PIPE)
        answers[name] = (await asyncio.wait_for(program.communicate(), 20))[0].decode()
    assert answers == dict.fromkeys(answers, "200") | {"eraseSession": "202"}


async def test_request_is_copied(tab: Tab) -> None:
    await tab.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    await click(tab, "#getReadiness .code button")
    await wait(tab, "document.querySelector('#getReadiness .code button').textContent === 'Copied'")
    text = await tab.evaluate("navigator.clipboard.readText()")
    assert text == await tab.evaluate("document.querySelector('#getReadiness .code pre').textContent")


async def test_axe_finds_nobody_left_out_with_everything_opened(tab: Tab) -> None:
    programs = installed(Path(__file__).parent / "node", "who the page leaves out is")
    assert await tab.evaluate(_OPEN_ALL) == 0, "something opens and shows nothing"
    await tab.evaluate(f"{(programs / 'node_modules/axe-core/axe.min.js').read_text()}; 1")
    for width, scheme in itertools.product((1280, 360), ("light", "dark")):
        await tab.resize(width, 800)
        await tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        assert await violations(tab) == [], f"{width} pixels, {scheme}"
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{width} pixels"
    assert tab.errors == []


async def test_operations_are_out_of_the_way_on_a_phone(tab: Tab) -> None:
    assert await tab.evaluate("document.querySelector('#contents details').open")
    await tab.resize(360, 800)
    await wait(tab, "!document.querySelector('#contents details').open")
    await click(tab, "#contents summary")
    await click(tab, "#contents a[href='#getEvents']")
    await wait(tab, "location.hash === '#getEvents' && !document.querySelector('#contents details').open")
    await wait(tab, "Math.abs(document.getElementById('getEvents').getBoundingClientRect().top) < 100")


async def test_page_says_so_where_the_description_is_not_to_be_had(
    chromium: Chromium, chatmesh: Callable[..., Process]
) -> None:
    process = chatmesh("dev", "--ephemeral", "--port", "0")
    server = (await process.wait_for_line(r"Chat page\s+(http://\S+)/"))[1]
    tab = await chromium.open("about:blank")
    await tab.run_first("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    await tab.go(f"{server}/docs")
    await wait(tab, "document.getElementById('about').textContent.includes('could not be read')")
