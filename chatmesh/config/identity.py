"""What a name in a subject may look like, and the name a process gets when nobody gave it one."""

from __future__ import annotations

import os
import re
import secrets
import socket
from functools import cache

ID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
"""Identifiers that become tokens of a NATS subject: session, message, pod and worker ids."""

_HOST_LENGTH = 100
"""Leaves room below the 128 characters of a token for the part that makes the name unique."""


def default_id() -> str:
    """Give this process's id: the host name in the token alphabet, `-`, and six random hex digits.

    The same for every call in one process, another one after a fork. Two processes of one host differ with a
    probability of one in sixteen million; the registry refuses the second of two equal ids.
    """
    return _id_of(os.getpid())


@cache
def _id_of(_pid: int) -> str:
    return f"{clean_host(socket.gethostname())}-{secrets.token_hex(3)}"


def clean_host(name: str) -> str:
    """Reduce a host name to the token alphabet, 100 characters at most; `host` where nothing is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_HOST_LENGTH].strip("-") or "host"
