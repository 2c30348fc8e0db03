"""The end of a caller's time: a token that expires ends what it has opened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chatmesh.protocol.callers import Caller


def at_expiry(caller: Caller, call: Callable[[], None]) -> asyncio.TimerHandle | None:
    """Calls once the caller's time is over, unless that is cancelled before. None for one whose time has no end."""
    if caller.expires_at is None:
        return None
    return asyncio.get_running_loop().call_later(max(0.0, caller.expires_at - time.time()), call)
