"""`chatmesh chat` on a real terminal: keys go in, and what a person would see comes out."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.chat.models import CODE, SETTING
from tests.chat.support import url_of
from tests.chat.terminal import CTRL_C, CTRL_D, Terminal
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.reading import post

Start = Callable[..., Terminal]

COUNTED = "".join(f"{number} " for number in range(1, 101))
SILENT = "demo.tokens_per_second=0.01"


async def test_markdown_is_rendered_as_it_comes_and_longer_than_the_screen(
    broker: Broker, terminal: Start
) -> None:
    """Two turns in one session: what is finished is in the scrollback once, whatever was drawn meanwhile."""
    async with running(broker.url, SETTING) as mesh, client_of(mesh) as http:
        chat = terminal("chat", "--url", url_of(mesh), "--session", "s", "--model", "page", rows=20)
        await chat.prompt(times=0)
        chat.type("show me\r")
        await chat.see("A title")
        chat.type("/model echo\r")  # ahead, while it is drawn
        screen = await chat.see("model: echo")
        assert screen.count("/model echo") == 1
        assert [line.strip() for line in screen.split("\n") if line.strip().startswith("line_")] == CODE
        for mark in ("# A title", "**", "```", "|---", "`code`"):
            assert mark not in screen.partition("show me")[2]
        for once in ("A title", "Some bold words, and code.", " • first", "The end, with a", "left"):
            assert screen.count(once) == 1, once
        assert "\x1b[1m" in chat.written
        assert r"a \x1b[31mcolour\x1b[0m of" in screen  # a terminal gets no orders from a model
        assert "\x1b[31mcolour" not in chat.written

        chat.type("and *once* more\r")
        screen = await chat.prompt(times=2)
        assert "\nand once more\n" in screen
        assert "\n3 tokens · first after " in screen
        chat.type(CTRL_D)
        assert await chat.end() == 0
        rows = (await http.get("/v1/sessions/s/messages")).json()["messages"]
        assert [row["content"] for row in rows if row["role"] == "user"] == ["show me", "and *once* more"]


async def test_ctrl_c_stops_the_answer_and_the_next_one_leaves(broker: Broker, terminal: Start) -> None:
    async with running(broker.url, SILENT) as mesh, client_of(mesh) as http:
        chat = terminal("chat", "--url", url_of(mesh), "--session", "s", "--model", "count")
        await chat.prompt(times=0)
        chat.type("go\r")
        await chat.see("\n1")
        chat.type(CTRL_C)
        screen = await chat.prompt()
        assert "1 token" in screen
        assert "· count · stopped" in screen
        assert "^C" not in screen
        (row,) = [
            row for row in (await http.get("/v1/sessions/s/messages")).json()["messages"] if row.get("model")
        ]
        assert (row["status"], row["content"]) == ("stopped", "1 ")
        chat.type(CTRL_C)
        assert await chat.end() == 0
        assert "Traceback" not in chat.written


@pytest.mark.slow
async def test_pod_that_is_started_anew_in_mid_answer_loses_and_doubles_nothing(
    broker: Broker, terminal: Start, chatmesh: Callable[..., Process]
) -> None:
    """And what is typed while nobody is there is offered again, until somebody is."""
    port = free_port()
    arguments = ("--set", f"nats.servers={broker.url}", "--set", f"http.port={port}")

    async def start() -> Process:
        pod = chatmesh("run", "--role", "pod", "--id", "pod-1", *arguments)
        await pod.wait_for_line("app.ready", stream="stderr")
        return pod

    async with running(broker.url, "demo.tokens_per_second=30", role="worker"):
        pod = await start()
        chat = terminal("chat", "--url", f"http://127.0.0.1:{port}", "--model", "count", columns=400)
        await chat.prompt(times=0)
        chat.type("go\r")
        await chat.see("\n1 2 3")
        pod.kill()
        await chat.see("reconnecting…")
        pod = await start()
        await chat.see("resumed at chunk ")
        screen = await chat.prompt()
        assert f"\n{COUNTED.strip()}\n" in screen
        assert "reconnecting…" not in screen  # it is not, any more

        pod.kill()
        chat.type("still here?\r")
        screen = await chat.see("> still here?", times=2)
        assert "nobody is reachable" in screen
        pod = await start()
        chat.type("\r")
        screen = await chat.prompt(times=2)
        assert screen.count(COUNTED.strip()) == 2


async def test_sigterm_gives_the_terminal_back(broker: Broker, terminal: Start) -> None:
    async with running(broker.url, SILENT) as mesh, client_of(mesh) as http:
        chat = terminal("chat", "--url", url_of(mesh), "--session", "s", "--model", "count")
        await chat.prompt(times=0)
        chat.type("go\r")
        await chat.see("\n1")
        assert not chat.has_echo
        chat.signal(signal.SIGTERM)
        assert await chat.end() == 143
        assert chat.has_echo
        assert chat.written.rindex("\x1b[?25h") > chat.written.rindex("\x1b[?25l")  # the cursor
        assert "Traceback" not in chat.written
        (message,) = {
            row["message_id"] for row in (await http.get("/v1/sessions/s/messages")).json()["messages"]
        }
        assert (await http.delete(f"/v1/sessions/s/messages/{message}")).status_code == 202  # it goes on


async def test_plain_has_no_escape_codes_and_thoughts_are_shown_where_they_are_wanted(
    broker: Broker, terminal: Start
) -> None:
    async with running(broker.url, SETTING) as mesh:
        named = ("chat", "--url", url_of(mesh), "--model", "thinking")
        plain = terminal(*named, "--plain", "--thoughts")
        await plain.prompt(times=0)
        plain.type("hm\n")
        screen = await plain.prompt()
        assert "\nlet me see\nI look.\n" in screen
        assert '→ weather({"city": "Graz"})\n' in screen
        plain.type("/model nope\nhm again\n")
        await plain.see("Enter alone sends it again")
        plain.type("/model thinking\n")
        await plain.see("model: thinking")
        plain.type("/nonsense\n")
        await plain.see("there is no /nonsense")
        plain.type(CTRL_D)
        assert await plain.end() == 0
        assert "\x1b" not in plain.written

        quiet = terminal(*named)
        await quiet.prompt(times=0)
        quiet.type("hm\r")
        screen = await quiet.prompt()
        assert "let me see" not in screen
        assert '→ weather({"city": "Graz"})\n' in screen


async def test_session_that_one_comes_back_to_shows_its_turns_and_joins_its_answer(
    broker: Broker, terminal: Start
) -> None:
    async with running(broker.url, SILENT) as mesh, client_of(mesh) as http:
        await post(http, "s", "what was before", message_id="m1", model="echo", tokens_per_second=0)
        await post(http, "s", "count on", message_id="m2", model="count")
        chat = terminal("chat", "--url", url_of(mesh), "--session", "s")
        screen = await chat.see("\n1")
        assert "> what was before\nwhat was before\n" in screen
        assert "> count on\n" in screen
        assert (await http.delete("/v1/sessions/s/messages/m2")).status_code == 202
        screen = await chat.prompt()
        assert "· stopped" in screen
        chat.type("/quit\r")
        assert await chat.end() == 0


async def test_lines_of_a_pipe_are_messages_until_one_has_no_good_answer(
    broker: Broker, chatmesh: Callable[..., Process]
) -> None:
    async with running(broker.url) as mesh:
        process = chatmesh("chat", "--url", url_of(mesh), "--model", "echo")
        process.write(b"one\n\n/session\ntwo three\n")
        process.close_input()
        assert await process.wait(timeout=30) == 0
        assert process.stdout == "one\ntwo three\n"
        assert "session sess_" in process.stderr

        failing = chatmesh("chat", "--url", url_of(mesh), "--model", "nope")
        failing.write(b"one\n/model echo\ntwo\n")
        failing.close_input()
        assert await failing.wait(timeout=30) == 2
        assert failing.stdout == ""
        assert failing.stderr.count("No worker serves the model 'nope'") == 1


async def test_nobody_reachable_at_the_beginning_is_3(chatmesh: Callable[..., Process]) -> None:
    process = chatmesh("chat", "--url", f"http://127.0.0.1:{free_port()}")
    assert await process.wait(timeout=30) == 3
    assert "chatmesh dev" in process.stderr
