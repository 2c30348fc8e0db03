"""A guarded server, and raw clients with the keys of its users: what an attacker has who took one process."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from chatmesh.cli import main
from tests.support.broker import Broker, Login
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.raw_client import connect
from tests.support.waiting import eventually

API = "$CHAT.API"


@dataclass
class Raw:
    """A client with one user's key. `refused` are the server's words, `heard` what came on any of its subscriptions."""

    client: Client
    refused: list[str]
    heard: list[Msg] = field(default_factory=list)

    async def listen(self, *subjects: str) -> None:
        async def hear(message: Msg) -> None:
            self.heard.append(message)

        for subject in subjects:
            await self.client.subscribe(subject, cb=hear)
        await self.client.flush()

    async def is_refused(self, verb: str, subject: str) -> bool:
        """Whether the server says so of this publish or subscription."""
        self.refused.clear()
        if verb == "publish":
            await self.client.publish(subject, b"{}")
        else:
            await self.listen(subject)
        await self.client.flush()  # the server answers in order
        kind = "publish" if verb == "publish" else "subscription"
        return any(f'violation for {kind} to "{subject.lower()}"' in text for text in self.refused)


@dataclass
class Guarded:
    """`folder` holds what natsconf wrote; `ca_file` is whom its clients trust, where it speaks TLS."""

    broker: Broker
    folder: Path
    ca_file: Path | None = None

    @classmethod
    async def start(cls, folder: Path, chatmesh: Callable[..., Process], *more: str) -> Self:
        port = free_port()
        arguments = ("natsconf", "--pods", "2", "--workers", "2", "--out", str(folder), "--port", str(port))
        assert main([*arguments, *more]) == 0
        broker = Broker(folder, port, "", Login())
        broker.config_file.write_text(
            (folder / "nats-server.conf").read_text() + f'server_name: "{broker.name}"\n'
        )
        await broker.launch()
        guarded = cls(broker, folder, Path(more[1]) / "ca.pem" if "--tls" in more else None)
        try:
            ensured = chatmesh("streams", "ensure", "--apply", "-c", guarded.file("deploy"))
            assert await ensured.wait(timeout=20) == 0, ensured.report()
        except BaseException:
            broker.stop()
            raise
        return guarded

    def file(self, id: str) -> str:
        return str(self.folder / f"{id}.yaml")

    def settings(self, id: str) -> tuple[str, ...]:
        """Of a mesh in the test's own loop, as that process."""
        return (f"nats.nkey_seed_file={self.folder / f'{id}.nk'}", f"nats.jetstream_api={API}")

    @asynccontextmanager
    async def client(self, id: str, *, inbox: str | None = None) -> AsyncIterator[Raw]:
        refused: list[str] = []

        async def on_error(error: Exception) -> None:
            refused.append(str(error).lower())

        client = await connect(
            self.broker.url,
            nkeys_seed=str(self.folder / f"{id}.nk"),
            inbox_prefix=inbox or f"_INBOX.{id}",
            error_cb=on_error,
            max_reconnect_attempts=2,
            tls=None if self.ca_file is None else ssl.create_default_context(cafile=self.ca_file),
        )
        try:
            yield Raw(client, refused)
        finally:
            await client.close()

    async def streams(self) -> dict[str, tuple[str, int]]:
        """Of each stream its birth and how many messages it ever stored, and still has."""
        found: dict[str, Any] = {}
        async with self.client("deploy") as deploy:
            for name in (
                "WORKFLOW_REQUESTS",
                "CHAT_TRANSCRIPT",
                "CHAT_REGISTRY",
                "CHAT_PRESENCE",
                "CHAT_DEAD_LETTERS",
            ):
                answer = await deploy.client.request(f"$JS.API.STREAM.INFO.{name}", timeout=2)
                info = orjson.loads(answer.data)
                found[name] = (info.get("created"), info["state"]["last_seq"], info["state"]["messages"])
        return found

    async def is_worked_off(self) -> bool:
        return (await self.streams())["WORKFLOW_REQUESTS"][2] == 0

    async def wait_until_worked_off(self) -> None:
        await eventually(self.is_worked_off)
