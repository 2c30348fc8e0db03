"""Answers by Anthropic's Messages API, and by servers that speak it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from chatmesh.errors import ProtocolError, ProviderError
from chatmesh.providers.anthropic_answer import AnthropicAnswer
from chatmesh.providers.anthropic_request import OLD_VERSION, SAMPLING, body_of
from chatmesh.providers.base import Continuation, Delta, Prompt, Resume
from chatmesh.providers.call import Call, Refusals
from chatmesh.providers.seam import beginning
from chatmesh.providers.settings import Settings
from chatmesh.providers.upstream import Upstream


class Anthropic:
    """One model, or those that a pattern stands for."""

    reads_history = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The order in which they go: of temperature and top_p some models take only one.
        self._refusals = Refusals(SAMPLING[::-1])
        self._upstream = Upstream(settings, "v1/messages", _headers(settings))

    @property
    def continuation(self) -> Continuation:
        return self._settings.continuation

    def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
        return self._upstream.ask(self._call(prompt, resume))

    async def aclose(self) -> None:
        await self._upstream.aclose()

    def _call(self, prompt: Prompt, resume: Resume) -> Call:
        shown, seam = beginning(resume.text, self.continuation)
        try:
            body, dropped = body_of(
                prompt,
                shown,
                model=self._settings.upstream_name(prompt.model),
                continuation=self.continuation,
                max_tokens=self._settings.max_tokens,
                api_version=self._settings.api_version,
            )
        except ProtocolError as error:
            raise ProviderError(error.what, code="provider_refused") from error
        return Call(
            body,
            partial(AnthropicAnswer, seam),
            self._refusals,
            dropped=dropped,
            traceparent=prompt.traceparent,
        )


def _headers(settings: Settings) -> dict[str, str]:
    """The key goes where the API's own SDK of that version has it."""
    headers = {"anthropic-version": settings.api_version}
    if settings.api_key and settings.api_version > OLD_VERSION:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    elif settings.api_key:
        headers["x-api-key"] = settings.api_key
    return headers
