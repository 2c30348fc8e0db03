"""`chatmesh health POD_ID`: the protocol's request-reply, from the outside."""

from __future__ import annotations

import argparse

import orjson

from chatmesh.broker import Broker
from chatmesh.cli.named import named
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.errors import ChatmeshError, Exit
from chatmesh.protocol import subjects
from chatmesh.protocol.messages import HealthResponse


def health(namespace: argparse.Namespace) -> int:
    asked = named(namespace.id, "POD_ID")
    subject = subjects.worker_health(asked) if namespace.worker else subjects.pod_health(asked)

    async def question(broker: Broker) -> HealthResponse:
        message = await broker.peers.request(subject, seconds=namespace.timeout)
        if message is None:
            raise ChatmeshError(
                f"nobody answered within {namespace.timeout:g} s",
                where=subject,
                mend="Is it running, with this id, on this broker? `--worker` asks a worker.",
            )
        return HealthResponse.decode(message.data)

    answer = ask(load_settings(namespace).config, question)
    if namespace.json:
        print(orjson.dumps(answer.wire()).decode())
    else:
        print(f"{answer.id} is {answer.status}, {answer.load} active, at {answer.timestamp}")
    return Exit.OK if answer.status == "healthy" else Exit.FAILED
