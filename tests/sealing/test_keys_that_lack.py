"""Wrong and missing keys: a clear error, a dead letter, and everything back once the key is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh.protocol.keyring import KeyRing
from tests.faults.support import dead_letters
from tests.operate.support import Start, finished
from tests.sealing.support import read_ring, ring_of, sealed, write_ring
from tests.sealing.test_sealed_mesh import ECHO, SECRET, history, say
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A ring of two keys, the second one current."""
    return write_ring(tmp_path / "full.json", ring_of(2))


@pytest.fixture
def lacking(tmp_path: Path, full: Path) -> Path:
    """The same without the current key."""
    ring = read_ring(full)
    left = {name: key for name, key in ring.keys.items() if name != ring.current}
    return write_ring(tmp_path / "lacking.json", KeyRing(left, next(iter(left))))


async def test_a_worker_without_the_key_buries_and_one_with_it_answers_what_is_queued_again(
    broker: Broker, nats_client: Client, full: Path, lacking: Path, chatmesh: Start
) -> None:
    settings = ("--set", f"nats.servers={broker.url}")
    async with pod_and_client(broker.url, "p", sealed(full)) as (_, client), events(client, "s") as stream:
        async with running(broker.url, sealed(lacking), role="worker"):
            await post(client, "s", SECRET, message_id="m", model=ECHO)

            async def is_buried() -> bool:
                return bool(await dead_letters(nats_client))

            await eventually(is_buried)
        (letter,) = await dead_letters(nats_client)
        missing = read_ring(full).current
        assert missing in letter.headers["Chatmesh-Reason"]
        assert SECRET.encode() not in letter.data

        code, process = await finished(chatmesh, "dlq", "show", str(letter.seq), *settings)
        assert (code, SECRET in process.stdout) == (0, False)
        code, process = await finished(
            chatmesh, "dlq", "show", str(letter.seq), *settings, "--set", sealed(full)
        )
        assert (code, SECRET in process.stdout) == (0, True)

        async with running(broker.url, sealed(full), role="worker"):
            code, process = await finished(chatmesh, "dlq", "retry", str(letter.seq), *settings)
            assert code == 0, process.stderr
            assert (await stream.read_finals()).text == SECRET


async def test_a_pod_without_the_key_says_so_and_serves_once_it_is_there(
    broker: Broker, full: Path, lacking: Path
) -> None:
    async with (
        running(broker.url, sealed(full)) as whole,
        client_of(whole) as good,
        pod_and_client(broker.url, "p2", sealed(lacking)) as (_, poor),
    ):
        await say(good, "s")
        answer = await poor.get("/v1/sessions/s/messages")
        assert (answer.status_code, answer.json()["code"]) == (503, "key_missing")
        assert "Retry-After" in answer.headers
        refused = await post(poor, "s", "more", model=ECHO)
        assert (refused.status_code, refused.json()["code"]) == (503, "key_missing")
        async with events(poor, "s", **{"from": "start"}) as stream:
            write_ring(lacking, read_ring(full))
            assert (await stream.read_finals()).text == SECRET
        assert await history(poor) == [SECRET, SECRET]


async def test_sealed_bodies_mean_nothing_to_a_process_without_a_ring(
    broker: Broker, nats_client: Client, full: Path, chatmesh: Start
) -> None:
    async with running(broker.url, sealed(full)) as mesh, client_of(mesh) as client:
        await say(client, "s")
    for command in (("usage",), ("verify", "s")):
        code, process = await finished(chatmesh, *command, "--set", f"nats.servers={broker.url}")
        assert code == 2, process.stdout
        assert "sealing.key_ring" in process.stderr
    async with (
        running(broker.url, role="worker"),
        pod_and_client(broker.url, "p", sealed(full)) as (_, client),
    ):
        await post(client, "t", SECRET, model=ECHO)

        async def is_buried() -> bool:
            return bool(await dead_letters(nats_client))

        await eventually(is_buried)


async def test_operators_commands_read_sealed_sessions_with_the_ring(
    broker: Broker, full: Path, chatmesh: Start
) -> None:
    settings = ("--set", f"nats.servers={broker.url}", "--set", sealed(full))
    async with running(broker.url, sealed(full)) as mesh, client_of(mesh) as client:
        await say(client, "s")
        code, process = await finished(chatmesh, "usage", "--json", *settings)
        assert code == 0, process.stderr
        assert [line["messages"] for line in json.loads(process.stdout)["lines"]] == [1]
        code, process = await finished(chatmesh, "verify", "s", *settings)
        assert code == 0, process.stdout + process.stderr


# --- the command ----------------------------------------------------------------------------------------------------------


async def keyring(chatmesh: Start, *arguments: str) -> tuple[int, str, str]:
    code, process = await finished(chatmesh, "keyring", *arguments)
    return code, process.stdout, process.stderr


async def test_rings_are_made_rotated_and_rewrapped_while_everybody_reads(
    broker: Broker, tmp_path: Path, chatmesh: Start
) -> None:
    path = tmp_path / "ring.json"
    place = ("--file", str(path))
    assert (await keyring(chatmesh, "new", *place))[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    code, _, err = await keyring(chatmesh, "new", *place)
    assert (code, path.read_bytes()) == (2, before), "never written over"
    assert "rotate" in err
    old = read_ring(path).current
    async with running(broker.url, sealed(path)) as mesh, client_of(mesh) as client:
        await say(client, "s")
        code, out, _ = await keyring(chatmesh, "rotate", "--later", *place)
        ring = read_ring(path)
        assert (code, ring.current, len(ring.keys)) == (0, old, 2)
        new = next(name for name in ring.keys if name != old)
        assert new in out
        assert (await keyring(chatmesh, "use", new, *place))[0] == 0

        async def is_known() -> bool:
            return mesh.broker.vault.ring.current == new

        await eventually(is_known)
        await say(client, "t", "under the new key")
        assert await history(client) == [SECRET, SECRET]

        code, _, err = await keyring(chatmesh, "drop", new, *place)
        assert (code, "current" in err) == (2, True)
        settings = ("--set", f"nats.servers={broker.url}", "--set", sealed(path))
        code, out, err = await keyring(chatmesh, "rewrap", "--json", *settings)
        assert (code, json.loads(out)) == (0, {"rewrapped": 1, "current": 1, "unreadable": 0}), err
        assert (await keyring(chatmesh, "drop", old, *place))[0] == 0
        code, out, _ = await keyring(chatmesh, "list", "--json", *place)
        assert [(key["id"], key["current"]) for key in json.loads(out)["keys"]] == [(new, True)]
        for key in ring.keys.values():
            assert key.secret.hex() not in out
    async with running(broker.url, sealed(path)) as mesh, client_of(mesh) as client:
        assert await history(client, "s") == [SECRET, SECRET]
        assert await history(client, "t") == ["under the new key"] * 2


async def test_rewrap_tells_of_sessions_that_no_key_opens(
    broker: Broker, tmp_path: Path, full: Path, chatmesh: Start
) -> None:
    async with running(broker.url, sealed(full)) as mesh, client_of(mesh) as client:
        await say(client, "s")
    other = write_ring(tmp_path / "other.json", ring_of())
    code, out, _ = await keyring(
        chatmesh, "rewrap", "--set", f"nats.servers={broker.url}", "--set", sealed(other)
    )
    assert (code, "1 can't be opened" in out) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [("use", "nobody"), ("drop", "nobody"), ("rotate",), ("list",)],
    ids=lambda arguments: arguments[0],
)
async def test_what_is_not_there_is_told(chatmesh: Start, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    missing = tmp_path / "none.json"
    code, _, err = await keyring(chatmesh, *arguments, "--file", str(missing))
    assert (code, str(missing) in err) == (2, True)
    ring = write_ring(tmp_path / "ring.json", ring_of())
    if len(arguments) > 1:
        code, _, err = await keyring(chatmesh, *arguments, "--file", str(ring))
        assert (code, "nobody" in err) == (2, True)


async def test_a_process_does_not_start_with_a_ring_that_is_none(
    broker: Broker, tmp_path: Path, chatmesh: Start
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    for path, said in ((broken, "key ring"), (tmp_path / "none.json", "can't be read")):
        code, process = await finished(
            chatmesh, "run", "--set", f"nats.servers={broker.url}", "--set", sealed(path)
        )
        assert code == 2
        assert said in process.stderr
        assert str(path) in process.stderr
