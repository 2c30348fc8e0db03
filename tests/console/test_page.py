"""The files of `/ops`: small, whole, of this server alone, and in the chat page's clothes."""

from __future__ import annotations

import re

from chatmesh.console.routes import PAGE
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.watch.support import STREAMS_ONLY

BUDGET = 100_000
"""Bytes of everything that the page loads of its own, unpacked."""

TEXTS = {entry.name: entry.read_text(encoding="utf-8") for entry in PAGE.iterdir()}


def named() -> set[str]:
    """Addresses that the page's files name."""
    found = set(re.findall(r'(?:src|href)="(/[^"#]+)"', TEXTS["index.html"]))
    for name, text in TEXTS.items():
        if name.endswith(".js"):
            found |= set(re.findall(r'from "([^"]+)"', text))
    return found - {"/"}


def test_page_stays_small() -> None:
    assert sum(len(text.encode()) for text in TEXTS.values()) <= BUDGET


def test_every_file_is_used_and_comes_from_here() -> None:
    own = {address.removeprefix("/ops/") for address in named() if address.startswith("/ops/")}
    assert own == set(TEXTS) - {"index.html"}
    for name, text in TEXTS.items():
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"']+", text) == [], name
    assert not re.search(r"<script(?! type=\"module\" src=)|<style| style=| on\w+=", TEXTS["index.html"])


def test_colours_and_type_are_those_that_all_pages_share() -> None:
    assert "/page/base.css" in named()
    assert re.findall(r"light-dark|rgb\(|--(?:sans|mono|serif):", TEXTS["ops.css"]) == []


async def test_page_and_all_that_it_names_are_served_under_a_strict_policy(broker: Broker) -> None:
    async with running(broker.url, role=STREAMS_ONLY) as mesh, client_of(mesh) as http:
        for address in {"/ops", *named()}:
            answer = await http.get(address)
            assert answer.status_code == 200, address
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"], address
            again = await http.get(address, headers={"If-None-Match": answer.headers["ETag"]})
            assert again.status_code == 304, address
