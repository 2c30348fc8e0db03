"""Pairs of keys for users of the broker: the server knows the public one, the seed never leaves its file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import nkeys

from chatmesh.errors import ConfigError

_SEED = re.compile(rb"BEGIN USER NKEY SEED-*\r?\n(S[A-Z0-9]+)")


@dataclass(frozen=True, slots=True)
class UserKey:
    """`public` begins with U; `seed`, the secret, with SU."""

    public: str
    seed: str = field(repr=False)


def new_user_key() -> UserKey:
    """A fresh pair, from the system's source of randomness."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key
    return UserKey(public.decode(), bytes(seed).decode())


def check_seed(file: Path, key: str) -> None:
    """Raises ConfigError, naming the configuration's `key` and the file, where that has no seed of an NKey. nats-py would
    take it for a server that is not there."""
    content = _content(file, key)
    _check(content, file, f"{key} has no seed of an NKey", "one line, SU…, as `chatmesh natsconf` writes it")


def check_credentials(file: Path, key: str) -> None:
    """The same for a file with a user's JWT and seed; where there is no JWT nats-py would look for it for ever."""
    content = _content(file, key)
    found = _SEED.search(content) if b"BEGIN NATS USER JWT" in content else None
    what = f"{key} has no JWT and seed of a user"
    _check(found[1] if found else b"", file, what, "a credentials file, as `nsc generate creds` writes it")


def _content(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes().strip()
    except OSError as error:
        what = f"{key} can't be read ({error.strerror})"
        raise ConfigError(what, where=str(file), mend="Expected a file that this user may read.") from error


def _check(seed: bytes, file: Path, what: str, expected: str) -> None:
    try:
        nkeys.from_seed(bytearray(seed))
    except (nkeys.NkeysError, ValueError) as error:
        raise ConfigError(what, where=str(file), mend=f"Expected {expected}.") from error
