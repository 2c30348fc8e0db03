"""The pods of one mesh, and whose turn it is: any of them serves any session."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from chatmesh.errors import ConfigError


class Pods:
    """A ring of base URLs, entered at random: who meets a pod that does not answer tries another one next."""

    def __init__(self, urls: Sequence[str], random: Random) -> None:
        if not urls:
            raise ConfigError("no pod is named", mend="Give the URL of one pod at least.")
        self._urls = [url.rstrip("/") for url in urls]
        self._at = random.randrange(len(self._urls))

    @property
    def current(self) -> str:
        return self._urls[self._at]

    def turn(self) -> None:
        """The next one, please."""
        self._at = (self._at + 1) % len(self._urls)
