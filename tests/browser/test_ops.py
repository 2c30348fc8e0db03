"""The operator's page in Chromium, on real meshes: what it shows while parts of them die, and what can be done there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from tests.auth.support import add_key
from tests.browser.chromium import Chromium, Tab
from tests.browser.doing import click, wait
from tests.browser.ops import HEADLINE, LIVE, answered, bury, mesh_of_four, mesh_of_one, open_ops
from tests.browser.test_reach import violations
from tests.console.test_http import watch_of
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.node import installed
from tests.support.processes import Process
from tests.support.reading import post
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECRET = "a secret of hers"
NODES = "[...document.querySelectorAll('#picture .node:not(.leaving)')]"
FOCUSED = "document.activeElement.ariaLabel || document.activeElement.textContent.trim() || document.activeElement.id"
SLOW = {"model": "count", "max_tokens": 1000, "tokens_per_second": 20}
STAGE = "document.getElementById('stage').textContent"


async def states(tab: Tab) -> dict[str, str]:
    """Of the picture's nodes, by their names."""
    found: dict[str, str] = await tab.evaluate(
        f"Object.fromEntries({NODES}.map((node) => [node.querySelector('.name').textContent, node.dataset.state]))"
    )
    return found


async def focus_by_keyboard(tab: Tab, name: str) -> None:
    """Tab, until what is called so has the focus."""
    for _ in range(80):
        if await tab.evaluate(FOCUSED) == name:
            return
        await tab.press("Tab")
    raise AssertionError(f"{name} is not reached")


async def test_pod_and_worker_that_are_killed_turn_grey_and_then_leave_and_the_answer_gets_a_second_bar(
    chromium: Chromium, chatmesh: Callable[..., Process], broker: Broker
) -> None:
    processes, url = await mesh_of_four(chatmesh, broker.url)
    tab = await open_ops(chromium, url)
    await wait(tab, f"{HEADLINE}.startsWith('Two pods and two workers.')")
    alive = dict.fromkeys(processes, "alive")

    async def are_alive() -> bool:
        assert await states(tab) == alive  # whose heartbeat comes late is grey for as long
        return True

    await eventually(are_alive, timeout=20)
    async with httpx.AsyncClient(base_url=url) as http:
        await post(http, "s", SECRET, message_id="long", **SLOW)
    await wait(tab, "document.querySelector('#waterfall .summary')?.textContent.includes(' at worker-')")
    told = await tab.evaluate("document.querySelector('#waterfall .summary').textContent")
    killed = told.rpartition(" ")[2]
    for name in ("pod-2", killed):
        processes[name].kill()
    await wait(tab, "document.querySelectorAll('#waterfall .streams').length === 2")
    assert "2 attempts" in await tab.evaluate("document.querySelector('#waterfall .summary').textContent")

    async def are_grey() -> bool:
        grey = {name: state for name, state in (await states(tab)).items() if state != "alive"}
        assert set(grey) == {"pod-2", killed}
        return set(grey.values()) <= {"late", "silent"}

    await eventually(are_grey, timeout=20)
    await wait(tab, f"{HEADLINE}.includes('are silent')")
    await wait(tab, f"{NODES}.length === 2")
    assert set(await states(tab)) == set(processes) - {"pod-2", killed}
    await wait(tab, f"{HEADLINE}.startsWith('One pod and one worker.')")
    assert await tab.evaluate("document.querySelectorAll('#members tbody tr').length") == 2
    assert "secret" not in await tab.evaluate("document.body.textContent")
    assert tab.errors == []


async def test_dots_travel_while_an_answer_is_written_but_not_where_motion_is_not_wanted(
    chromium: Chromium, broker: Broker
) -> None:
    async with mesh_of_one(broker.url) as (url, http):
        tab = await open_ops(chromium, url)
        await post(http, "s", SECRET, message_id="m", **SLOW)
        await wait(tab, "document.querySelectorAll('.dot.tells').length > 2")
        await wait(tab, "document.getElementById('legend').textContent.includes(' batches and ')")
        await tab.prefer(prefers_reduced_motion="reduce")
        await wait(tab, "document.querySelectorAll('.dot').length === 0")
        await http.delete("/v1/sessions/s/messages/m")
        await wait(tab, "document.querySelector('#waterfall .summary').textContent.includes('stopped')")
        assert tab.errors == []


async def test_dead_letter_is_retried_and_another_one_dropped_with_the_keyboard_alone(
    chromium: Chromium, broker: Broker, nats_client: Client
) -> None:
    async with mesh_of_one(broker.url) as (url, http):
        await bury(nats_client, "lost", "s")
        await bury(nats_client, "bad", "t")
        tab = await open_ops(chromium, url)
        await wait(tab, "document.querySelectorAll('#letter-rows li').length === 2")
        await focus_by_keyboard(tab, "Retry lost")
        await tab.press("Enter")
        await wait(tab, "document.getElementById('confirm').open")
        await tab.press("Escape")
        await wait(tab, "!document.getElementById('confirm').open")
        assert await tab.evaluate("document.querySelectorAll('#letter-rows li').length") == 2
        assert await tab.evaluate(FOCUSED) == "Retry lost"
        await tab.press("Enter")
        await focus_by_keyboard(tab, "Retry")
        await tab.press("Enter")
        await wait(tab, "document.getElementById('letters-said').textContent === 'lost is queued again.'")
        await eventually(lambda: is_answered(http, "s", "once more"))
        await wait(tab, "document.querySelectorAll('#letter-rows li').length === 1")
        await focus_by_keyboard(tab, "Drop bad")
        await tab.press("Enter")
        await focus_by_keyboard(tab, "Drop")
        await tab.press("Enter")
        await wait(tab, "document.getElementById('letters-said').textContent === 'bad is gone.'")
        await wait(tab, "!document.getElementById('no-letters').hidden")
        assert tab.errors == []


async def is_answered(http: httpx.AsyncClient, session_id: str, text: str) -> bool:
    answer = await http.get(f"/v1/sessions/{session_id}/messages")
    return answer.status_code == 200 and text in [row["content"] for row in answer.json()["messages"][1:]]


async def test_session_is_found_and_replayed_as_it_was_written(chromium: Chromium, broker: Broker) -> None:
    async with mesh_of_one(broker.url) as (url, http):
        await answered(http, "other", "nothing", model="echo")
        await answered(http, "wanted", SECRET, model="count", max_tokens=30, tokens_per_second=60)
        tab = await open_ops(chromium, url)
        await wait(tab, "document.querySelectorAll('#session-rows li').length === 2")
        await tab.evaluate("document.getElementById('ids').focus()")
        await tab.type("ante")
        await wait(tab, "document.querySelectorAll('#session-rows li').length === 1")
        await focus_by_keyboard(tab, "Replay wanted")
        await tab.press("Enter")
        await wait(tab, f"{STAGE}.includes(' 30 ')")
        assert await tab.evaluate("document.activeElement.id") == "scrubber"
        await tab.press("Home")
        await wait(tab, f"{STAGE} === {json.dumps(SECRET)}")
        await tab.press("ArrowRight")
        await wait(tab, "Number(document.getElementById('scrubber').value) === 1")
        await focus_by_keyboard(tab, "Play 4×")
        await tab.press("Enter")
        await wait(tab, f"{STAGE}.includes(' 7 ')")
        await wait(tab, f"{STAGE}.includes(' 30 ') && document.getElementById('scrubber').value === '1000'")
        assert await tab.evaluate("document.getElementById('fast').textContent") == "Play 4×"
        await tab.press("Escape")
        await wait(tab, "!document.getElementById('replay').open")
        assert await tab.evaluate(FOCUSED) == "Replay wanted"
        assert tab.errors == []


async def test_page_that_nobody_sees_for_a_minute_looks_no_more_until_it_is_seen_again(
    chromium: Chromium, broker: Broker
) -> None:
    async with running(broker.url, id="one") as mesh:
        assert mesh.server is not None
        watch = watch_of(mesh)
        tab = await open_ops(chromium, mesh.server.url)
        await tab.evaluate(
            "window.later = setTimeout;"
            "window.setTimeout = (call, ms, ...more) => later(call, ms === 60000 ? 0 : ms, ...more);"
            "Object.defineProperty(document, 'hidden', { get: () => window.isHidden, configurable: true }); 1"
        )
        for is_hidden, viewers in (("true", 0), ("false", 1)):
            await tab.evaluate(
                f"window.isHidden = {is_hidden}; document.dispatchEvent(new Event('visibilitychange'))"
            )
            await eventually(lambda expected=viewers: watch.viewers == expected)
        assert tab.errors == []


async def test_broker_that_is_away_is_told_and_the_page_goes_on_when_it_is_back(
    chromium: Chromium, broker: Broker
) -> None:
    async with mesh_of_one(broker.url) as (url, _):
        tab = await open_ops(chromium, url)
        for asked in ("dead-letters", "sessions"):  # what fails in between is a line in any console
            await wait(
                tab,
                f"performance.getEntriesByType('resource').some(({{ name }}) => name.includes('{asked}?'))",
            )
        broker.kill()
        await wait(tab, "document.getElementById('pill').textContent.startsWith('nothing is seen: ')")
        assert await tab.evaluate(f"{NODES}.length") == 2, "what was seen last stays"
        await broker.launch()
        await wait(tab, f"!('away' in document.body.dataset) && {LIVE}")
        assert tab.errors == []


async def test_page_asks_for_a_key_until_one_may_operate_and_shows_no_words_of_others(
    chromium: Chromium, broker: Broker, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    _, hers = add_key(keys, "alice")
    _, his = add_key(keys, "olaf", scopes="operate")
    auth = ("auth.mode=api_keys", f"auth.keys_file={keys}")
    async with mesh_of_one(broker.url, *auth) as (url, http):
        http.headers["Authorization"] = f"Bearer {hers}"
        await answered(http, "s", SECRET, model="echo")
        tab = await chromium.open(f"{url}/ops")
        await wait(tab, "document.getElementById('key').open")
        await tab.type(hers)
        await tab.press("Enter")
        await wait(tab, "document.querySelector('#key .reason').textContent.includes('scope operate')")
        await tab.type(his)
        await tab.press("Enter")
        await wait(tab, f"!document.getElementById('key').open && {LIVE}")
        await wait(tab, "document.querySelectorAll('#session-rows li').length === 1")
        await click(tab, "#session-rows button")
        await wait(tab, f"{STAGE}.startsWith({json.dumps('·' * len(SECRET))})")
        assert "secret" not in await tab.evaluate("document.body.textContent")


async def test_axe_finds_nobody_left_out_by_light_and_dark_wide_and_narrow(
    chromium: Chromium, broker: Broker, nats_client: Client
) -> None:
    what = "who the page leaves out is"
    axe = installed(Path(__file__).parent / "node", what) / "node_modules/axe-core/axe.min.js"
    async with mesh_of_one(broker.url) as (url, http):
        await answered(http, "done", SECRET, model="echo")
        await post(http, "runs", SECRET, message_id="runs", **SLOW)
        await post(http, "runs", SECRET, message_id="waits", **SLOW)
        await bury(nats_client, "lost", "s")
        tab = await open_ops(chromium, url)
        await wait(tab, "document.querySelectorAll('#waterfall li').length === 3")
        await wait(tab, "document.querySelectorAll('#letter-rows li').length === 1")
        await click(tab, "#members summary")
        await tab.evaluate(f"{axe.read_text()}; 1")
        for scheme in ("light", "dark"):
            await tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            for width in (1280, 360):
                await tab.resize(width, 800)
                assert await violations(tab) == [], (scheme, width)
                assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            for opening, dialog in (("#session-rows button", "replay"), ("#letter-rows button", "confirm")):
                await click(tab, opening)
                await wait(tab, f"document.getElementById('{dialog}').open")
                assert await violations(tab) == [], (scheme, dialog)
                await tab.press("Escape")
                await wait(tab, f"!document.getElementById('{dialog}').open")
        assert tab.errors == []
        for message in ("waits", "runs"):
            await http.delete(f"/v1/sessions/runs/messages/{message}")


async def test_bars_and_replay_say_what_they_are_made_of(chromium: Chromium, broker: Broker) -> None:
    async with mesh_of_one(broker.url) as (url, _):
        tab = await open_ops(chromium, url)
        attempts = [
            {"attempt": 1, "worker_id": "a", "began_at": 1500, "ended_at": 3000, "handed_over": False},
            {"attempt": 2, "worker_id": "b", "began_at": 3000, "ended_at": None, "handed_over": False},
        ]
        message = {
            "session_id": "s",
            "message_id": "m",
            "accepted_at": 1000,
            "first_at": 1800,
            "last_at": 3500,
        }
        message |= {"ended_at": None, "outcome": None, "attempts": attempts, "pods": []}
        row = await called(tab, "/ops/waterfall.js", "spans", message, 4000)
        bars = [(bar["kind"], bar["lane"], bar["from"], bar["to"]) for bar in row["bars"]]
        assert bars == [
            ("waits", 0, 0, 500),
            ("thinks", 0, 500, 800),
            ("streams", 0, 800, 2000),
            ("streams", 1, 2000, 3000),
        ]
        words = await called(tab, "/ops/waterfall.js", "summary", row)
        assert words == "for 3 s · first token 800 ms · 2 attempts · at b"
        kinds = [
            ("question", 0, "why?"),
            ("answer", 100, "be"),
            ("reset", 5000, None),
            ("answer", 5100, "so"),
        ]
        pieces = [
            {"kind": kind, "message_id": "m", "at": at, "attempt": 1, "characters": 2, "text": text}
            for kind, at, text in kinds
        ]
        timed = await called(tab, "/ops/replay.js", "timed", pieces)
        assert [piece["place"] for piece in timed] == [0, 100, 3100, 3200], "nobody watches a pause"
        for place, expected in ((0, ""), (100, "be"), (3100, ""), (3200, "so")):
            (turn,) = await called(tab, "/ops/replay.js", "written", timed, place)
            assert (turn["question"], turn["answer"]) == ("why?", expected)


async def called(tab: Tab, module: str, function: str, *arguments: Any) -> Any:
    """What a function of the page's modules returns."""
    given = ", ".join(map(json.dumps, arguments))
    return await tab.evaluate(f"import({json.dumps(module)}).then((all) => all.{function}({given}))")
