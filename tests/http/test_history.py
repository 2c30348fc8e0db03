"""What was said can be read back: rows, pages, single messages, and a position to go on from."""

from __future__ import annotations

import httpx
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.models import gate, models
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually


async def rows(client: httpx.AsyncClient, query: str = "") -> dict[str, object]:
    answer = await client.get(f"/v1/sessions/s/messages{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, object] = answer.json()
    return page


async def say(client: httpx.AsyncClient, count: int, **body: object) -> None:
    """So many messages m0, m1 … and their answers."""
    for number in range(count):
        await post(client, "s", f"text {number}", message_id=f"m{number}", model="echo", **body)
    async with events(client, "s", message_id=f"m{count - 1}") as stream:
        await stream.read_all()


async def test_rows_come_oldest_first_a_user_row_and_an_assistant_row_with_one_id(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 3)
        page = await rows(client)
    messages = page["messages"]
    assert [(row["message_id"], row["role"]) for row in messages] == [
        (f"m{number}", role) for number in range(3) for role in ("user", "assistant")
    ]
    assert [row["content"] for row in messages] == [f"text {number // 2}" for number in range(6)]
    assert all(row["status"] == "done" for row in messages)
    assert [row["finish_reason"] for row in messages[1::2]] == ["stop"] * 3
    assert all(row["created_at"] for row in messages)
    assert page["next"] is None
    assert page["position"]


async def test_status_is_queued_then_running_then_done(broker: Broker) -> None:
    async def statuses(client: httpx.AsyncClient) -> list[tuple[str, str]]:
        return [(row["message_id"], row["status"]) for row in (await rows(client))["messages"][1::2]]

    async with pod_and_client(broker.url, "pod-1") as (_, client):
        go_on = gate()
        await post(client, "s", message_id="a", model="held")
        await post(client, "s", message_id="b", model="count", max_tokens=10)
        assert await statuses(client) == [("a", "queued"), ("b", "queued")]
        async with (
            running(broker.url, models("held"), role="worker", id="w"),
            events(client, "s") as stream,
        ):
            await stream.read(5)
            assert await statuses(client) == [("a", "running"), ("b", "queued")]
            single = (await client.get("/v1/sessions/s/messages/a")).json()
            assert single["status"] == "running"
            assert single["content"].startswith("1 2 3 ")
            assert (await client.get("/v1/sessions/s/messages/b")).json()["status"] == "queued"
            go_on.set()
            await stream.read_finals(2)
            assert await statuses(client) == [("a", "done"), ("b", "done")]


async def test_failed_answer_has_the_status_failed_and_its_error(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        # While no worker was heard of, a model that nobody serves is accepted and waits.
        assert (await post(client, "s", message_id="m", model="nobody")).status_code == 202
        async with (
            running(broker.url, role="worker", id="w"),
            events(client, "s", message_id="m") as stream,
        ):
            await stream.read_all()
        row = (await rows(client))["messages"][1]
    assert row["status"] == "failed"
    assert row["finish_reason"] == "error"
    assert set(row["error"]) == {"code", "message"}


async def test_pages_by_limit_and_after_are_the_whole_once(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 7)
        whole = (await rows(client))["messages"]
        for limit in (1, 2, 3, 7, 8):
            collected, after, pages = [], "", 0
            while True:
                page = await rows(client, f"?limit={limit}{after}")
                collected += page["messages"]
                pages += 1
                assert len(page["messages"]) <= 2 * limit
                if page["next"] is None:
                    break
                after = f"&after={page['next']}"
            assert collected == whole
            assert pages == -(-7 // limit)


async def test_default_limit_is_50_messages(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 52)
        page = await rows(client)
        rest = await rows(client, f"?after={page['next']}")
    assert len(page["messages"]) == 100
    assert len(rest["messages"]) == 4


async def test_limit_or_cursor_that_is_none_is_422(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 1)
        for query in (
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=501",
            "limit=99999999999999",
            "limit=%D9%A1",
            "after=x",
        ):
            answer = await client.get(f"/v1/sessions/s/messages?{query}")
            assert answer.status_code == 422, query
            assert answer.json()["code"] in {"invalid_limit", "unknown_cursor"}


async def test_stream_from_a_pages_position_has_no_gap_and_no_duplicate(
    broker: Broker, nats_client: Client
) -> None:
    """Also while an answer runs: what the page shows and what the stream brings is the whole, at each moment."""
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        events(one, "s") as clock,
    ):
        pages = [await _page(client) for client in (one, two)]
        await post(one, "s", message_id="a", model="count", max_tokens=100, tokens_per_second=250)
        await post(one, "s", message_id="b", model="count", max_tokens=10)
        for number in range(8):
            pages.append(await _page((one, two)[number % 2]))
            await clock.read(11)
        await clock.read_finals(2)
        pages.append(await _page(two))
        whole = await stored.text(nats_client, "s")
        count = len(await stored.chunks(nats_client, "s"))
        for shown, position in pages:
            if position is None:
                continue
            async with events(two, "s", reading=Reading(position=position)) as stream:
                if shown != whole:
                    await stream.read_finals(1 if shown.startswith("".join(_numbers(100))) else 2)
            assert not stream.reading.named("reset")
            assert shown + stream.reading.text == whole
    assert count == 112
    assert len(pages) == 11


async def test_position_of_a_page_in_the_middle_goes_on_behind_that_page(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 4)
        page = await rows(client, "?limit=2")
        async with events(client, "s", reading=Reading(position=str(page["position"]))) as stream:
            reading = await stream.read_finals(2)
    assert reading.text == "text 2text 3"


async def test_single_message_has_state_and_full_text(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 2)
        message = (await client.get("/v1/sessions/s/messages/m1")).json()
    assert message["message_id"] == "m1"
    assert message["session_id"] == "s"
    assert message["status"] == "done"
    assert message["content"] == "text 1"
    assert message["finish_reason"] == "stop"


async def test_unknown_session_or_message_is_404(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 1)
        for path, code in (
            ("other/messages", "unknown_session"),
            ("other/messages/m0", None),
            ("s/messages/m1", "unknown_message"),
        ):
            answer = await client.get(f"/v1/sessions/{path}")
            assert answer.status_code == 404
            assert code is None or answer.json()["code"] == code


async def test_history_outlives_the_broker_and_the_pod(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        await say(client, 2)
        before = (await rows(client))["messages"]
    broker.kill()
    await broker.launch()
    async with pod_and_client(broker.url, "pod-9") as (_, client):
        assert (await rows(client))["messages"] == before


async def test_message_that_was_accepted_is_in_the_history_at_once(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        for number in range(20):
            await post(client, "s", message_id=f"m{number}", model="echo")
            found = {row["message_id"] for row in (await rows(client))["messages"]}
            assert found == {f"m{known}" for known in range(number + 1)}
        await eventually(lambda: _all_done(client))


async def _all_done(client: httpx.AsyncClient) -> bool:
    return all(row["status"] == "done" for row in (await rows(client))["messages"])


async def _page(client: httpx.AsyncClient) -> tuple[str, str | None]:
    """The assistant's text as the history shows it, and its position; None where there is no session yet."""
    answer = await client.get("/v1/sessions/s/messages")
    if answer.status_code == 404:
        return "", None
    page = answer.json()
    return "".join(row["content"] for row in page["messages"] if row["role"] == "assistant"), page["position"]


def _numbers(count: int) -> list[str]:
    return [f"{number} " for number in range(1, count + 1)]
