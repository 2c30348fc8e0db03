"""Workers and pods as processes that may be killed, as the fault tests have them."""

from __future__ import annotations

from tests.faults.conftest import new_pod, new_worker

__all__ = ["new_pod", "new_worker"]
