"""A message as the broker delivered it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Msg:
    """`reply` is empty where no answer is asked for; `headers` are None where there are none. A status of the server's stands
    among them, as nats-py puts it there."""

    subject: str
    reply: str = ""
    data: bytes = b""
    headers: dict[str, str] | None = None
