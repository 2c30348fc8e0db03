"""Failed tries to prove who one is: so many from one address in a minute, and nothing more of it is looked at for a while.

Keys and tokens are too long to be guessed, so this is no lock: it bounds what trying costs, and shows it in the metrics. Who has
proved it before is not held up by others behind the same address. Pure: time comes from a clock.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from chatmesh.kernel.token_buckets import TokenBuckets
from chatmesh.telemetry import metrics
from chatmesh.web.problem import Problem

MAX_PROVED = 10_000
"""Credentials that were good last; about 150 bytes each."""


class FailedTries:
    """`per_minute` None: they are not counted. `credential` is whatever a request brings, "" nothing: that is no try.
    Tries that are under way at the same time count when they have failed."""

    def __init__(self, per_minute: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = TokenBuckets(per_minute) if per_minute is not None else None
        self._clock = clock
        self._proved: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        """Addresses that failed lately, and credentials that were good."""
        return len(self._proved) + (len(self._rates) if self._rates is not None else 0)

    def check(self, address: str, credential: str) -> None:
        """Before it is looked at. Problem 429 `too_many_failures`; it does not count as another failure."""
        if self._rates is None or not credential or _digest(credential) in self._proved:
            return
        if wait := self._rates.wait_seconds(network_of(address), self._clock()):
            metrics.limited.labels("failed_auth").inc()
            raise Problem(
                429,
                "too_many_failures",
                "Too many tries from this address brought no good key, token or ticket.",
                retry_after_seconds=math.ceil(wait),
            )

    def failed(self, address: str, credential: str) -> None:
        if self._rates is not None and credential:
            self._proved.pop(_digest(credential), None)
            self._rates.take(network_of(address), self._clock())

    def proved(self, credential: str) -> None:
        if self._rates is None or not credential:
            return
        digest = _digest(credential)
        self._proved[digest] = None
        self._proved.move_to_end(digest)
        if len(self._proved) > MAX_PROVED:
            self._proved.popitem(last=False)


def network_of(address: str) -> str:
    """What one client has: an IPv4 address, or the 2^64 addresses of an IPv6 one's network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def _digest(credential: str) -> bytes:
    return hashlib.blake2b(credential.encode(errors="surrogateescape"), digest_size=16).digest()
