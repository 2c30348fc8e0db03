"""Answers by a server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, OpenRouter, …"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from chatmesh.providers.base import Continuation, Delta, Prompt, Resume
from chatmesh.providers.call import Call, Refusals
from chatmesh.providers.openai_answer import OpenaiAnswer
from chatmesh.providers.openai_request import TUNING, body_of
from chatmesh.providers.seam import beginning
from chatmesh.providers.settings import Settings
from chatmesh.providers.upstream import Upstream


class Openai:
    """One model, or those that a pattern stands for. Without a key none is sent."""

    reads_history = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusals = Refusals(TUNING)
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self._upstream = Upstream(settings, "chat/completions", headers)

    @property
    def continuation(self) -> Continuation:
        return self._settings.continuation

    def generate(self, prompt: Prompt, resume: Resume) -> AsyncIterator[Delta]:
        return self._upstream.ask(self._call(prompt, resume))

    async def aclose(self) -> None:
        await self._upstream.aclose()

    def _call(self, prompt: Prompt, resume: Resume) -> Call:
        shown, seam = beginning(resume.text, self.continuation)
        body = body_of(
            prompt,
            shown,
            model=self._settings.upstream_name(prompt.model),
            continuation=self.continuation,
            max_tokens=self._settings.max_tokens,
        )
        return Call(body, partial(OpenaiAnswer, seam), self._refusals, traceparent=prompt.traceparent)
