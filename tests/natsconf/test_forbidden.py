"""Whoever took one process can do what that process does, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from chatmesh.operate.natsconf import GRANTS
from chatmesh.operate.permissions import filled
from tests.natsconf.support import API, Guarded, Raw
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

NEXT = "CONSUMER.MSG.NEXT.WORKFLOW_REQUESTS.workflow-processor"
ACK = "$JS.ACK.WORKFLOW_REQUESTS.workflow-processor.1.1.1.1795692609231911757.0"

ANYBODY = {
    "publish": (
        *(
            f"{api}.{call}"
            for api in ("$JS.API", API)
            for call in (
                "STREAM.DELETE.CHAT_TRANSCRIPT",
                "STREAM.PURGE.CHAT_TRANSCRIPT",
                "STREAM.MSG.DELETE.CHAT_TRANSCRIPT",
                "STREAM.MSG.GET.CHAT_TRANSCRIPT",
                "STREAM.SNAPSHOT.CHAT_TRANSCRIPT",
                "STREAM.RESTORE.CHAT_TRANSCRIPT",
                "CONSUMER.DELETE.WORKFLOW_REQUESTS.workflow-processor",
                "CONSUMER.DURABLE.CREATE.CHAT_TRANSCRIPT.mine",
                "STREAM.LIST",
                "STREAM.NAMES",
                "ACCOUNT.PURGE.STREAMS",
            )
        ),
        "_INBOX.pod-2.x.1",
        "_INBOX.worker-2.x.1",
        "_R_.x.y",
        "$SYS.REQ.SERVER.PING",
        "$JS.EVENT.ADVISORY.x",
        "$KV.x.y",
        "chat.pod.pod-2.heartbeat",
        "chat.registry.s.pod-2",
        "chat.worker.worker-2.heartbeat",
        "chat.worker.worker-2.leases",
        "chat.elsewhere",
    ),
    "subscribe": (
        ">",
        "*.>",
        "chat.>",
        "_INBOX.>",
        "_INBOX.*.*",
        "_INBOX.*.health.*",
        "_INBOX.pod-2.>",
        "_INBOX.worker-2.>",
        "_R_.>",
        "chat.pod.*.response",
        "chat.pod.pod-2.response",
        "chat.pod.*.health",
        "chat.pod.pod-2.health",
        "chat.worker.worker-2.health",
        "chat.workflow.execute.*",
        "chat.workflow.execute.s",
        "chat.session.*.claim",
        "chat.dead.*",
        "$JS.API.>",
        f"{API}.>",
        "$JS.ACK.>",
        "$JS.EVENT.ADVISORY.>",
        "$SYS.>",
    ),
}
MAKING = ("STREAM.CREATE.MINE", "STREAM.UPDATE.CHAT_TRANSCRIPT", "CONSUMER.CREATE.CHAT_TRANSCRIPT.mine")
WORKERS_ONLY = (
    "chat.pod.pod-1.response",
    "chat.pod.pod-2.response",
    "chat.session.s.transcript.m",
    "chat.session.s.claim",
    "chat.session.s.broadcast",
    "chat.dead.s",
    "chat.worker.worker-1.heartbeat",
    f"{API}.{NEXT}",
    ACK,
)
HEARD_BY_WORKERS = ("chat.session.*.transcript.*", "chat.session.*.stop.*", "chat.registry.*.*")

OF_ROLE = {
    "pod-1": {
        "publish": (
            *(f"{API}.{call}" for call in MAKING),
            *(f"$JS.API.{call}" for call in MAKING),
            *WORKERS_ONLY,
            "chat.pod.pod-2.health",
            "chat.worker.worker-1.health",
            f"{API}.STREAM.MSG.DELETE.CHAT_DEAD_LETTERS",
        ),
        "subscribe": (*HEARD_BY_WORKERS, "chat.pod.*.heartbeat", "_INBOX.monitor.>"),
    },
    "worker-1": {
        "publish": (
            *(f"{API}.{call}" for call in MAKING),
            *(f"$JS.API.{call}" for call in MAKING),
            "chat.workflow.execute.s",
            "chat.session.s.stop.m",
            "chat.pod.pod-1.health",
            f"{API}.STREAM.MSG.DELETE.CHAT_DEAD_LETTERS",
        ),
        "subscribe": ("chat.pod.pod-1.response", "chat.session.*.broadcast", "_INBOX.pod-1.>"),
    },
    "monitor": {
        "publish": (
            *(f"{API}.{call}" for call in MAKING),
            *(f"$JS.API.{call}" for call in MAKING),
            *WORKERS_ONLY,
            "chat.session.s.stop.m",
            "chat.session.s.erased",
        ),
        "subscribe": (*HEARD_BY_WORKERS, "chat.session.*.broadcast", "_INBOX.pod-1.>"),
    },
    "deploy": {
        "publish": (
            *WORKERS_ONLY,
            "chat.workflow.execute.s",
            "chat.session.s.stop.m",
            f"$JS.API.{NEXT}",
            "$JS.API.DIRECT.GET.CHAT_TRANSCRIPT",
        ),
        "subscribe": (*HEARD_BY_WORKERS, "chat.session.*.broadcast", "_INBOX.pod-1.>"),
    },
}

REDIRECTED_TO = (
    "$JS.API.STREAM.DELETE.CHAT_TRANSCRIPT",
    "$JS.API.STREAM.PURGE.CHAT_TRANSCRIPT",
    f"{API}.STREAM.DELETE.CHAT_TRANSCRIPT",
    f"{API}.STREAM.MSG.DELETE.CHAT_DEAD_LETTERS",
    "chat.session.s.transcript.m",
    "chat.session.s.claim",
    "chat.dead.s",
    "chat.worker.worker-1.leases",
)
"""An acknowledgement is not among them: the server itself refuses a reply subject that is one."""


@pytest.mark.parametrize("id", OF_ROLE)
async def test_what_a_process_does_not_do_is_refused_and_reaches_nobody(guarded: Guarded, id: str) -> None:
    before = await guarded.streams()
    async with (
        guarded.client("pod-2") as pod,
        guarded.client("worker-2") as worker,
        guarded.client(id) as thief,
    ):
        await pod.listen("_INBOX.pod-2.>", "chat.pod.pod-2.response", "chat.pod.pod-2.health")
        await worker.listen("_INBOX.worker-2.>", "chat.worker.worker-2.health", *HEARD_BY_WORKERS)
        for verb in ("publish", "subscribe"):
            passed = [
                subject
                for subject in (*ANYBODY[verb], *OF_ROLE[id][verb])
                if not await thief.is_refused(verb, subject)
            ]
            assert not passed, f"{id} may {verb} to these"
        for other in (pod, worker):
            await other.client.flush()
            assert not other.heard
    assert await guarded.streams() == before


async def test_what_a_process_does_is_let_pass(guarded: Guarded) -> None:
    """Else the test above would hold for a user who may do nothing at all."""
    for id in OF_ROLE:
        await assert_is_let_pass(guarded, id)


async def assert_is_let_pass(guarded: Guarded, id: str) -> None:
    role = id.partition("-")[0]
    api = "$JS.API" if role == "deploy" else API
    needs = GRANTS[role]  # type: ignore[index]
    async with guarded.client(id) as client:
        for verb, entries in (("publish", needs.publish), ("subscribe", needs.subscribe)):
            for entry in entries:
                subject = filled(entry, id, api)
                if verb == "publish":
                    subject = subject.replace("*", "x").replace(">", "x")
                assert not await client.is_refused(verb, subject), subject


async def test_message_to_oneself_with_a_reply_subject_gives_no_right_to_publish_there(
    guarded: Guarded,
) -> None:
    """As `allow_responses` would: a pod may publish to its own health subject, and hears it."""
    before = await guarded.streams()
    async with guarded.client("pod-1") as thief, guarded.client("pod-2") as victim:
        await victim.listen("chat.pod.pod-2.response")
        await thief.listen("chat.pod.pod-1.health")
        for number, target in enumerate(("chat.pod.pod-2.response", *REDIRECTED_TO), 1):
            await thief.client.publish("chat.pod.pod-1.health", b"", reply=target)
            await eventually(lambda number=number: len(thief.heard) == number)  # type: ignore[misc]
            assert await thief.is_refused("publish", target)
        await victim.client.flush()
        assert not victim.heard
    assert await guarded.streams() == before


async def test_reply_that_is_redirected_deletes_nothing_and_is_stored_nowhere(guarded: Guarded) -> None:
    for id in ("pod-1", "worker-1", "monitor"):
        await assert_replies_go_nowhere(guarded, id)


async def assert_replies_go_nowhere(guarded: Guarded, id: str) -> None:
    async with guarded.client("pod-1") as writer, guarded.client(id) as thief:
        await writer.client.request("chat.workflow.execute.s", b"", timeout=2)
        await writer.client.request("chat.session.s.stop.m", b'{"x": 1}', timeout=2)
        before = await guarded.streams()
        for target in REDIRECTED_TO:
            for call, body in (
                ("DIRECT.GET.WORKFLOW_REQUESTS", b'{"last_by_subj": "chat.workflow.execute.s"}'),
                ("DIRECT.GET.WORKFLOW_REQUESTS", b'{"last_by_subj": "chat.workflow.execute.none"}'),
                ("DIRECT.GET.CHAT_TRANSCRIPT", b'{"next_by_subj": "chat.session.s.>", "seq": 1, "batch": 5}'),
                ("STREAM.INFO.CHAT_TRANSCRIPT", b""),
            ):
                await thief.client.publish(f"{API}.{call}", body, reply=target)
        await settled(thief)
    assert not thief.refused, "the questions themselves were let pass, so something is proved"
    assert await guarded.streams() == before


async def settled(client: Raw) -> None:
    """JetStream answers out of order with pings, but one stream's questions in order: asked last, answered last."""
    for stream in ("WORKFLOW_REQUESTS", "CHAT_TRANSCRIPT"):
        answer = await client.client.request(f"{API}.DIRECT.GET.{stream}", b'{"seq": 1}', timeout=5)
        assert answer.headers


async def test_stored_message_that_is_sent_to_another_pods_readers_is_shown_to_nobody(
    guarded: Guarded, logs: list[dict[str, str]]
) -> None:
    """JetStream itself delivers it, so no permission is in its way: the pod sees that it comes out of a stream."""
    forged = (
        b'{"session_id":"s","message_id":"m","chunk_id":0,"chunk":"forged","chunk_type":"content","is_final":true,'
        b'"metadata":{},"timestamp":"2026-01-01T00:00:00Z","correlation_id":"c"}'
    )
    batch = b'{"session_id":"s","chunks":[' + forged + b'],"timestamp":"2026-01-01T00:00:00Z"}'
    async with AsyncExitStack() as stack:
        pod = await stack.enter_async_context(
            running(guarded.broker.url, *guarded.settings("pod-2"), role="pod", id="pod-2")
        )
        client = await stack.enter_async_context(client_of(pod))
        stream = await stack.enter_async_context(events(client, "s"))
        thief = await stack.enter_async_context(guarded.client("pod-1"))
        await thief.client.request("chat.session.none.stop.m", batch, timeout=2)
        last = b'{"last_by_subj": "chat.session.none.stop.m"}'
        for target in ("chat.pod.pod-2.response", "chat.session.s.broadcast"):
            await thief.client.publish(f"{API}.DIRECT.GET.CHAT_TRANSCRIPT", last, reply=target)
        dropped = lambda: [line for line in logs if line["event"] == "hub.dropped"]  # noqa: E731
        await eventually(lambda: len(dropped()) == 2)
        assert all("out of a stream" in line["error"] for line in dropped())
        # What is honest still comes, and nothing came before it.
        await stack.enter_async_context(
            running(guarded.broker.url, *guarded.settings("worker-1"), role="worker", id="worker-1")
        )
        await post(client, "s", "honest", model="echo")
        async with asyncio.timeout(20):
            reading = await stream.read_finals()
        assert reading.text == "honest"
