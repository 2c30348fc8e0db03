"""One request to a model's server, and what becomes of parameters that it does not take: pure.

A server that refuses a parameter which only tunes the answer is asked again without it, and the answer says so in its
final metadata (`dropped`). That is remembered for the model, so that it costs one refused request and not one for each
message. What changes the meaning of a request (tools, response_format, stop) is never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from chatmesh.providers.answer import Answer
from chatmesh.providers.faults import UpstreamError

RENAMED = {"max_tokens": "max_completion_tokens"}
"""OpenAI's reasoning models take the new name only, most other servers the old one only."""

SILENT = {"stream_options", *RENAMED}
"""Ours and not the request's, or nothing lost: not told."""

_UNSUPPORTED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|extra_forbidden|extra inputs"
    r"|does not exist|cannot both|only the default|deprecated|no longer",
    re.IGNORECASE,
)

MAX_MODELS = 256
"""Models that are remembered; a pattern may stand for any number of them."""


class Refusals:
    """What each model has refused; one writer, the provider's calls. `tuning` is what may be dropped, in the order in
    which it is looked for: of two that an error names, the first one goes."""

    def __init__(self, tuning: tuple[str, ...]) -> None:
        self.tuning = tuning
        self._keys: dict[str, set[str]] = {}

    def of(self, model: str) -> set[str]:
        return self._keys.get(model, set())

    def add(self, model: str, key: str) -> None:
        if model not in self._keys and len(self._keys) >= MAX_MODELS:
            del self._keys[next(iter(self._keys))]
        self._keys.setdefault(model, set()).add(key)


class Call:
    """`body` is what to send now; `begin` makes the reader of one answer to it; `dropped` names parameters that don't
    exist at this provider; `traceparent` names the answer's trace to the server."""

    def __init__(
        self,
        body: Mapping[str, Any],
        begin: Callable[[], Answer],
        refusals: Refusals,
        *,
        dropped: tuple[str, ...] = (),
        traceparent: str = "",
    ) -> None:
        self.body = dict(body)
        self.traceparent = traceparent
        self.begin = begin
        self._model = str(body["model"])
        self._refusals = refusals
        self._dropped = list(dropped)
        for key in refusals.tuning:
            if key in refusals.of(self._model):
                self._drop(key)

    @property
    def notes(self) -> dict[str, Any]:
        """For the final chunk's metadata."""
        return {"dropped": sorted(self._dropped)} if self._dropped else {}

    def mend(self, error: UpstreamError) -> bool:
        """Whether the call is another one now, without what was refused; then it is worth asking again at once."""
        if error.code != "provider_refused" or not _UNSUPPORTED.search(error.said):
            return False
        for key in self._refusals.tuning:
            if key in self.body and re.search(rf"(?<![a-z_]){key}(?![a-z_])", error.said):
                self._refusals.add(self._model, key)
                self._drop(key)
                return True
        return False

    def _drop(self, key: str) -> None:
        if key not in self.body:
            return
        value = self.body.pop(key)
        if key in RENAMED and RENAMED[key] not in self.body:
            self.body[RENAMED[key]] = value
        if key not in SILENT:
            self._dropped.append(key)
