"""Pairs of keys for users of the broker: the server knows the public one, the seed never leaves its file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import nkeys


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
