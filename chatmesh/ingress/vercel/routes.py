"""`/api/chat`: say something, come back to what is being answered, stop it. A chat is a session."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chatmesh.broker import Ownership
from chatmesh.errors import BrokerError
from chatmesh.ingress.admission import Admission
from chatmesh.ingress.bodies import context_of, decode, validate
from chatmesh.ingress.history import History
from chatmesh.ingress.intake import Known
from chatmesh.ingress.reading import IngressSettings, read_json, token_in, traceparent_of
from chatmesh.ingress.shapes import sentence
from chatmesh.ingress.stopping import Stopping
from chatmesh.ingress.vercel import operations
from chatmesh.ingress.vercel.answers import ChatStopped
from chatmesh.ingress.vercel.bodies import PostChat
from chatmesh.ingress.vercel.understanding import Understood, understand
from chatmesh.protocol.callers import Access
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.projection import Encoder
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token, new_message_id
from chatmesh.protocol.vercel_ui import HEADERS, MessageStream
from chatmesh.web import CALLER, Problem, Request, Response, Route, empty_response, json_response
from chatmesh.web.request import REQUEST_ID

Project = Callable[[Request, Token, Token, Encoder, Mapping[str, str]], Awaitable[Response]]


class VercelChat:
    """`project` serves an answer as a stream in another format."""

    def __init__(
        self,
        admission: Admission,
        history: History,
        stopping: Stopping,
        ownership: Ownership,
        settings: IngressSettings,
        *,
        project: Project,
    ) -> None:
        self._admission = admission
        self._history = history
        self._stopping = stopping
        self._ownership = ownership
        self._settings = settings
        self._project = project

    @property
    def routes(self) -> list[Route]:
        chat = "/api/chat/{session_id}"
        return [
            Route("POST", "/api/chat", self.post, operations.POST_CHAT, refuse=sentence, access=Access.CHAT),
            Route(
                "GET",
                f"{chat}/stream",
                self.resume,
                operations.RESUME_CHAT,
                is_stream=True,
                refuse=sentence,
                access=Access.READ,
                # A chat that is not begun yet is asked for, and is no error: 204, and so is another's.
                checks_session=True,
            ),
            Route(
                "POST", f"{chat}/stop", self.stop, operations.STOP_CHAT, refuse=sentence, access=Access.CHAT
            ),
        ]

    async def post(self, http: Request) -> Response:
        self._admission.check_open()
        raw = decode(await read_json(http, self._settings))
        body = validate(PostChat, raw)
        understood = understand(body)
        request = WorkflowRequest(
            message_id=understood.message_id or new_message_id(),
            session_id=Token(body.id),
            user_id=http[CALLER].user,
            message=clean_text(understood.message),
            context=_context(body, raw, understood),
            timestamp=iso(time.time()),
            correlation_id=http[REQUEST_ID],
        )
        with self._admission.listen(http, request.session_id, request.message_id) as coming:
            accepted = await self._admission.admit(
                request,
                caller=http[CALLER],
                known=Known.MESSAGE if understood.message_id is not None else Known.SESSION,
                traceparent=traceparent_of(http),
            )
            coming.queue_seq = accepted.queue_seq
            return await self._stream(http, request.session_id, request.message_id)

    async def resume(self, http: Request) -> Response:
        """204: nothing is being answered."""
        session_id = token_in(http, "session_id")
        self._admission.check_broker()
        if not await self._is_theirs(http, session_id):
            return empty_response(204)
        unanswered = await self._history.unanswered(session_id)
        return await self._stream(http, session_id, unanswered[0]) if unanswered else empty_response(204)

    async def stop(self, http: Request) -> Response:
        session_id = token_in(http, "session_id")
        self._admission.check_broker()
        unanswered = await self._history.unanswered(session_id)
        stopped = [each for each in unanswered if await self._stopping.stop(session_id, each)]
        answer: ChatStopped = {"stopped": [*stopped]}
        return json_response(answer)

    async def _is_theirs(self, http: Request, session_id: Token) -> bool:
        try:
            return await self._ownership.is_theirs(http[CALLER], session_id)
        except BrokerError as error:
            raise Problem(503, "broker_away", "NATS is away.", retry_after_seconds=2) from error

    async def _stream(self, http: Request, session_id: Token, message_id: Token) -> Response:
        return await self._project(http, session_id, message_id, MessageStream(message_id), HEADERS)


def _context(body: PostChat, raw: dict[str, Any], understood: Understood) -> dict[str, Any]:
    """The body's own, as it came, and what the messages say."""
    context = context_of(body.context, raw)
    if body.model is not None:
        context["model"] = body.model
    if understood.system:
        context["system_prompt"] = understood.system
    if understood.history is not None:
        context["conversation_history"] = understood.history
    return context
