"""Pages in a browser: ours and listed ones may act, others may not, and no other name leads here in development."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.app import parts
from chatmesh.config import load
from chatmesh.errors import ChatmeshError
from chatmesh.web.origins import LOCAL_NAMES, Origins
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post

APP = "https://app.example.com"
MESSAGES = "/v1/sessions/s/messages"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("chat.example.com", "https://chat.example.com"),
        ("chat.example.com", "http://chat.example.com"),
        ("chat.example.com:443", "https://chat.example.com"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("pods", APP),
    ],
)
def test_page_of_our_own_origin_or_a_listed_one_may_act(host: str, origin: str) -> None:
    assert Origins(frozenset({APP})).refusal("POST", host, origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://127.0.0.1:9090",
        "http://127.0.0.1",
        "https://evil.example",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "http://app.example.com",
        f"{APP}/",
        "https://APP.example.com",
        "file://",
        "https://[::1",
        "https://x:99999999",
    ],
)
def test_page_of_any_other_origin_may_look_and_not_act(origin: str) -> None:
    origins = Origins(frozenset({APP}))
    for method in ("POST", "DELETE", "PUT", "PATCH"):
        refusal = origins.refusal(method, "127.0.0.1:8080", origin)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (403, "origin_not_allowed")
    assert origins.refusal("GET", "127.0.0.1:8080", origin) is None
    assert "Access-Control-Allow-Origin" not in origins.headers(origin)


def test_page_behind_a_proxy_that_renames_us_may_act_if_the_browser_vouches_for_it() -> None:
    origins = Origins()
    assert origins.refusal("POST", "pods", APP, "same-origin") is None
    for other in ("same-site", "cross-site", "none", ""):
        assert origins.refusal("POST", "pods", APP, other) is not None


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
def test_this_machine_is_called_by_its_own_names(host: str) -> None:
    assert Origins(hosts=LOCAL_NAMES).refusal("GET", host, None) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io", "[::"]
)
def test_other_name_leads_nowhere_where_names_are_listed(host: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        refusal = Origins(hosts=LOCAL_NAMES).refusal(method, host, None)
        assert refusal is not None
        assert (refusal.status, refusal.code) == (403, "host_not_allowed")
    assert Origins().refusal("GET", host, None) is None


@given(host=st.text(), origin=st.text())
def test_whatever_a_client_says_of_itself_is_decided_without_a_failure(host: str, origin: str) -> None:
    origins = Origins(frozenset({APP}), LOCAL_NAMES)
    for method in ("GET", "POST"):
        origins.refusal(method, host, origin)
    origins.headers(origin)


async def test_listed_page_reads_answers_streams_and_failures_and_others_read_nothing(broker: Broker) -> None:
    async with running(broker.url, f"http.allowed_origins={APP}") as mesh, client_of(mesh) as client:
        client.headers["Origin"] = APP
        async with events(client, "s") as reader:
            assert reader.response.headers["Access-Control-Allow-Origin"] == APP
            answer = await post(client, "s", model="echo")
            assert answer.status_code == 202
            assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
            await reader.read_finals()
        failure = await client.get("/v1/sessions/nobody/messages")
        assert (failure.status_code, failure.headers["Access-Control-Allow-Origin"]) == (404, APP)
        client.headers["Origin"] = "https://evil.example"
        looked = await client.get(MESSAGES)
        assert "Access-Control-Allow-Origin" not in looked.headers
        assert looked.headers["Vary"] == "Origin"
        refused = await client.delete("/v1/sessions/s")
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
        kept = await client.get(MESSAGES)
        assert len(kept.json()["messages"]) == 2


async def test_browser_that_asks_first_is_told_what_a_listed_page_may_do(broker: Broker) -> None:
    asked = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    async with running(broker.url, f"http.allowed_origins={APP}") as mesh, client_of(mesh) as client:
        answer = await client.options(MESSAGES, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
        assert answer.headers["Access-Control-Allow-Headers"] == asked["Access-Control-Request-Headers"]
        other = await client.options(MESSAGES, headers=asked | {"Origin": "https://evil.example"})
        assert (other.status_code, other.json()["code"]) == (403, "origin_not_allowed")
        openai = await client.options("/v1/chat/completions", headers=asked | {"Origin": "null"})
        assert openai.json()["error"]["code"] == "origin_not_allowed"
        assert (await client.options("/nowhere", headers=asked)).status_code == 404
        odd = await client.options(MESSAGES, headers=asked | {"Access-Control-Request-Headers": "a\tb;c"})
        assert "Access-Control-Allow-Headers" not in odd.headers
        assert (await client.options(MESSAGES)).status_code == 405


async def test_form_of_another_page_can_not_post_a_message(broker: Broker) -> None:
    body = json.dumps({"message": "hi"}).encode()
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await client.post(MESSAGES, content=body, headers={"Content-Type": kind})
            assert answer.status_code == 415
        answer = await post(client, "s", model="echo")
        assert answer.status_code == 202
        stranger = {"Origin": "https://evil.example"}
        for path, asked in (
            (MESSAGES, {"message": "hi"}),
            ("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/responses", {"model": "echo", "input": "hi"}),
            ("/api/chat", {"id": "s", "messages": []}),
        ):
            answer = await client.post(path, json=asked, headers=stranger)
            assert answer.status_code == 403, path


async def test_development_answers_to_the_names_of_this_machine_only(broker: Broker) -> None:
    hosts = "http.allowed_hosts=localhost,127.0.0.1"
    async with running(broker.url, hosts) as mesh, client_of(mesh) as client:
        for path in ("/", "/v1/sessions", "/readyz", "/v1/sessions/s/events"):
            answer = await client.get(path, headers={"Host": "rebound.evil.example"})
            assert (answer.status_code, answer.json()["code"]) == (403, "host_not_allowed")
        assert (await client.get("/readyz", headers={"Host": "localhost"})).status_code == 200


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        (["nats.embedded=true"], LOCAL_NAMES),
        ([], None),
        (["nats.embedded=true", "http.host=0.0.0.0", "auth.allow_anonymous=true"], None),
        (["http.allowed_hosts=chat.example.com,[::1]"], frozenset({"chat.example.com", "::1"})),
    ],
)
def test_names_are_listed_in_development_or_by_the_operator(
    settings: list[str], hosts: frozenset[str] | None
) -> None:
    config = load(None, environ={}, overrides=settings, role="all", id="me").config
    assert parts.server_settings(config).origins.hosts == hosts


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("allowed_origins", value) for value in ("*", "null", "app.example.com", f"{APP}/", f"{APP}:443")),
        ("allowed_origins", "https://App.example.com"),
        ("allowed_hosts", "chat.example.com:8080"),
        ("allowed_hosts", "*"),
    ],
)
def test_origin_or_host_that_no_browser_would_send_is_refused(key: str, value: str) -> None:
    with pytest.raises(ChatmeshError, match=f"http.{key}"):
        load(None, environ={}, overrides=[f"http.{key}={value}"], role="pod", id="me")


async def test_pages_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for path in ("/", "/page/page.js", "/client.js", "/client/source.js"):
            headers: Any = (await client.get(path)).headers
            policy = headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["X-Content-Type-Options"] == "nosniff"


async def test_page_that_a_browser_has_already_is_not_sent_again(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        first = await client.get("/client.js")
        again = await client.get("/client.js", headers={"If-None-Match": first.headers["ETag"]})
        other = await client.get("/client.js", headers={"If-None-Match": '"another"'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (other.status_code, other.content) == (200, first.content)


async def test_worker_can_be_killed_from_the_page_in_development_only(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        assert (await client.post("/dev/worker/kill")).status_code == 404
        assert "data-development" not in (await client.get("/")).text
