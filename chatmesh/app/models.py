"""Keeps the models' connections for as long as anybody may ask: a sink, so it stops after everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatmesh.kernel import Service
from chatmesh.providers import Catalogue


class Models(Service):
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._is_drained = asyncio.Event()

    def drain(self) -> None:
        self._is_drained.set()

    async def run(self, started: Callable[[], None]) -> None:
        started()
        try:
            await self._is_drained.wait()
        finally:
            await self._catalogue.aclose()
