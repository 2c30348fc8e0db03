"""`POST /v1/chat/completions` and `GET /v1/models`, for unmodified SDKs and Open WebUI.

A completion is accepted like any message, and only then answered: as a stream, or as a whole once it has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from chatmesh.ingress.admission import Admission
from chatmesh.ingress.intake import Accepted, Known
from chatmesh.ingress.openai import caller, operations
from chatmesh.ingress.openai.answers import Model, ModelList
from chatmesh.ingress.openai.bodies import ChatRequest, parse_chat
from chatmesh.ingress.openai.failures import failed_answer, refuse
from chatmesh.ingress.openai.mapping import message_and_context, prompt_tokens
from chatmesh.ingress.reading import IngressSettings, read_json, traceparent_of
from chatmesh.ingress.repeats import Repeats, retry_key
from chatmesh.ingress.stopping import Stopping
from chatmesh.protocol.callers import Access
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.openai_chat import ChatStream, completion
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token, new_message_id, new_session_id
from chatmesh.telemetry import get_logger
from chatmesh.web import CALLER, Problem, Request, Response, Route, cut, json_response
from chatmesh.web.request import MORE_HEADERS, REQUEST_ID

log = get_logger("ingress")

PATH = "/v1/chat/completions"

ACCEPTED = {"x-should-retry": "false"}
"""For SDKs, which send everything again that failed: this one is accepted, and its failure is its answer."""


Left = Callable[[], Awaitable[None]]
"""What is done where the client leaves before the end of its answer."""


class Project(Protocol):
    """Serves an accepted message as a stream."""

    def __call__(
        self,
        request: Request,
        session_id: Token,
        message_id: Token,
        encoder: ChatStream,
        headers: Mapping[str, str],
        left: Left | None = None,
    ) -> Awaitable[Response]: ...


class Collect(Protocol):
    """An accepted message's chunks, once it has ended; None where this pod leaves before."""

    def __call__(
        self, request: Request, session_id: Token, message_id: Token, left: Left | None = None
    ) -> Awaitable[list[dict[str, Any]] | None]: ...


class ChatDoor:
    """`cancels`: a client that leaves stops its answer."""

    def __init__(
        self,
        admission: Admission,
        stopping: Stopping,
        repeats: Repeats,
        settings: IngressSettings,
        *,
        project: Project,
        collect: Collect,
        cancels: bool,
    ) -> None:
        self._admission = admission
        self._stopping = stopping
        self._repeats = repeats
        self._settings = settings
        self._project = project
        self._collect = collect
        self._cancels = cancels
        self._began = int(time.time())

    @property
    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                PATH,
                self.complete,
                operations.CREATE_CHAT_COMPLETION,
                refuse=refuse,
                access=Access.CHAT,
            ),
            Route(
                "GET",
                "/v1/models",
                self.get_models,
                operations.LIST_MODELS,
                refuse=refuse,
                access=Access.READ,
            ),
            Route(
                "GET",
                "/v1/models/{model}",
                self.get_model,
                operations.GET_MODEL,
                refuse=refuse,
                access=Access.READ,
            ),
        ]

    async def complete(self, http: Request) -> Response:
        self._admission.check_open()
        data = await read_json(http, self._settings)
        body, raw = parse_chat(data)
        request, key, known = await self._request(http, data, body, raw)
        head: dict[str, str] = {caller.SESSION: request.session_id, "X-Message-Id": request.message_id}
        http[MORE_HEADERS] = head
        with self._admission.listen(http, request.session_id, request.message_id) as coming:
            trace = traceparent_of(http)
            accepted = await self._accept(http, request, key, known=known, traceparent=trace)
            coming.queue_seq = accepted.queue_seq
            head.update(ACCEPTED)  # on the answer to a failure too, from here on
            return await self._answer(http, request, key, body, raw)

    async def _answer(
        self, http: Request, request: WorkflowRequest, key: Token, body: ChatRequest, raw: Mapping[str, Any]
    ) -> Response:
        left = partial(self._stop, request, key) if self._cancels else None
        tokens = prompt_tokens(raw["messages"])
        if not body.stream:
            return await self._whole(http, request, body.model, tokens, left)
        encoder = ChatStream(
            _id(request), body.model, int(time.time()), has_usage=body.has_usage, prompt_tokens=tokens
        )
        head = http[MORE_HEADERS]
        return await self._project(http, request.session_id, request.message_id, encoder, head, left)

    async def get_models(self, _http: Request) -> Response:
        answer: ModelList = {
            "object": "list",
            "data": [self._model(name) for name in self._admission.served_models],
        }
        return json_response(answer)

    async def get_model(self, http: Request) -> Response:
        name = http.match_info["model"]
        if name not in self._admission.served_models:
            raise Problem(422, "unknown_model", f"No worker serves the model {name!r:.80}.")
        return json_response(self._model(name))

    def _model(self, name: str) -> Model:
        return {"id": name, "object": "model", "created": self._began, "owned_by": "chatmesh"}

    # --- a message -------------------------------------------------------------------------------------------------

    async def _request(
        self, http: Request, data: bytes, body: ChatRequest, raw: Mapping[str, Any]
    ) -> tuple[WorkflowRequest, Token, Known]:
        """The request, what stands for it when it comes again, and what of it may have been here before."""
        given = caller.session_of(http.headers, body)
        user_id = http[CALLER].user or caller.user_of(http.headers, body)
        key = retry_key(PATH, http.headers, http[CALLER], user_id, given, data)
        first = await self._repeats.find(http.headers, key)
        session_id, message_id = first or (given or new_session_id(), new_message_id())
        message, context = message_and_context(body, raw)
        request = WorkflowRequest(
            message_id=message_id,
            session_id=session_id,
            user_id=user_id,
            message=message,
            context=context,
            timestamp=iso(time.time()),
            correlation_id=http[REQUEST_ID],
        )
        if first is not None:
            return request, key, Known.MESSAGE
        return request, key, Known.SESSION if given else Known.NOTHING

    async def _accept(
        self, http: Request, request: WorkflowRequest, key: Token, *, known: Known, traceparent: str
    ) -> Accepted:
        """Returns once the message is durable, and would be recognised."""
        try:
            return await self._repeats.admit(
                request, key, caller=http[CALLER], known=known, traceparent=traceparent
            )
        except asyncio.CancelledError:
            # The client is gone; what was sent may be stored all the same.
            if self._cancels:
                await self._stop(request, key)
            raise

    async def _whole(
        self, http: Request, request: WorkflowRequest, model: str, tokens: int, left: Left | None
    ) -> Response:
        chunks = await self._collect(http, request.session_id, request.message_id, left)
        if chunks is None:
            # An error would be its answer; after a cut an SDK asks another pod, which recognises it.
            return cut(http)
        if (failure := failed_answer(chunks[-1])) is not None:
            raise failure
        return json_response(completion(_id(request), model, int(time.time()), chunks, prompt_tokens=tokens))

    async def _stop(self, request: WorkflowRequest, key: Token) -> None:
        """Its client has left. One that comes again wants an answer, and not the half of one."""
        if not self._admission.is_open:
            return  # this pod leaves, and its clients with it
        await self._repeats.forget(key)
        try:
            await self._stopping.stop(request.session_id, request.message_id)
        except Problem as problem:
            log.info("ingress.not_stopped", message_id=request.message_id, code=problem.code)


def _id(request: WorkflowRequest) -> str:
    return f"chatcmpl-{request.message_id}"
