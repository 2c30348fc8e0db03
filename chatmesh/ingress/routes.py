"""The native routes: POST a message, read history, alive and ready."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from chatmesh.ingress import operations
from chatmesh.ingress.admission import Admission
from chatmesh.ingress.answers import MessageAccepted, MessageStopping, SessionErasing
from chatmesh.ingress.bodies import DEFAULT_PAGE, MAX_PAGE, PostMessage, parse_post
from chatmesh.ingress.erasing import Erasing
from chatmesh.ingress.history import History
from chatmesh.ingress.intake import Accepted, Known
from chatmesh.ingress.reading import IngressSettings, message_id_of, read_json, token_in, traceparent_of
from chatmesh.ingress.stopping import Stopping
from chatmesh.protocol.callers import Access
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token, new_message_id, token
from chatmesh.telemetry import get_logger
from chatmesh.web import CALLER, Problem, Request, Response, Route, json_response
from chatmesh.web.request import REQUEST_ID, accepts, identify

log = get_logger("ingress")

Inline = Callable[[Request, Token, Token, Mapping[str, str]], Awaitable[Response]]


class Ingress:
    """`inline` serves an answer in the answer to its POST."""

    def __init__(
        self,
        admission: Admission,
        history: History,
        stopping: Stopping,
        erasing: Erasing,
        settings: IngressSettings,
        *,
        inline: Inline,
    ) -> None:
        self._admission = admission
        self._history = history
        self._stopping = stopping
        self._erasing = erasing
        self._settings = settings
        self._inline = inline

    @property
    def routes(self) -> list[Route]:
        session = "/v1/sessions/{session_id}"
        one = f"{session}/messages/{{message_id}}"
        chat, read = Access.CHAT, Access.READ
        return [
            Route(
                "POST",
                f"{session}/messages",
                self.post_message,
                operations.POST_MESSAGE,
                access=chat,
                checks_session=True,
            ),
            Route("GET", f"{session}/messages", self.get_messages, operations.GET_MESSAGES, access=read),
            Route("GET", one, self.get_message, operations.GET_MESSAGE, access=read),
            Route("DELETE", one, self.delete_message, operations.DELETE_MESSAGE, access=chat),
            Route("GET", "/v1/sessions", self.get_sessions, operations.GET_SESSIONS, access=read),
            Route("DELETE", session, self.delete_session, operations.DELETE_SESSION, access=chat),
        ]

    async def post_message(self, http: Request) -> Response:
        session_id = token_in(http, "session_id")
        self._admission.check_open()
        body, context = parse_post(await read_json(http, self._settings))
        identify(http, body.correlation_id or "")
        request, known = self._request(http, session_id, body, context)
        message_id = request.message_id
        if accepts(http, "text/event-stream"):
            headers = {"X-Message-Id": message_id, "X-Session-Id": session_id}
            with self._admission.listen(http, session_id, message_id) as coming:
                coming.queue_seq = (await self._admit(http, request, known)).queue_seq
                return await self._inline(http, session_id, message_id, headers)
        accepted = await self._admit(http, request, known)
        answer: MessageAccepted = {
            "message_id": message_id,
            "session_id": session_id,
            "correlation_id": accepted.correlation_id,
            "duplicate": accepted.is_duplicate,
            "events_url": f"/v1/sessions/{session_id}/events?message_id={message_id}",
        }
        location = f"/v1/sessions/{session_id}/messages/{message_id}"
        return json_response(answer, status=202, headers={"Location": location})

    async def get_messages(self, http: Request) -> Response:
        session_id = token_in(http, "session_id")
        limit = _limit(http)
        self._admission.check_broker()
        return json_response(await self._history.page(session_id, limit=limit, after=http.query.get("after")))

    async def get_message(self, http: Request) -> Response:
        session_id, message_id = token_in(http, "session_id"), token_in(http, "message_id")
        self._admission.check_broker()
        return json_response(await self._history.message(session_id, message_id))

    async def delete_message(self, http: Request) -> Response:
        """Stop it. 202 while it is being stopped, 200 with its state once it has ended."""
        session_id, message_id = token_in(http, "session_id"), token_in(http, "message_id")
        self._admission.check_broker()
        if await self._stopping.stop(session_id, message_id):
            answer: MessageStopping = {
                "message_id": message_id,
                "session_id": session_id,
                "status": "stopping",
            }
            return json_response(answer, status=202)
        return json_response(await self._history.message(session_id, message_id))

    async def get_sessions(self, http: Request) -> Response:
        limit = _limit(http)
        self._admission.check_broker()
        after = http.query.get("after", "")
        return json_response(await self._history.sessions(http[CALLER], limit=limit, after=after))

    async def delete_session(self, http: Request) -> Response:
        """Erase it: 202, and from then on reads are 404."""
        session_id = token_in(http, "session_id")
        self._admission.check_broker()
        await self._erasing.erase(session_id)
        answer: SessionErasing = {"session_id": session_id, "status": "erasing"}
        return json_response(answer, status=202)

    # --- a message -------------------------------------------------------------------------------------------------

    async def _admit(self, http: Request, request: WorkflowRequest, known: Known) -> Accepted:
        accepted = await self._admission.admit(
            request, caller=http[CALLER], known=known, traceparent=traceparent_of(http)
        )
        identify(http, accepted.correlation_id)  # a repetition has that of the first one
        return accepted

    def _request(
        self, http: Request, session_id: Token, body: PostMessage, context: dict[str, object]
    ) -> tuple[WorkflowRequest, Known]:
        """The request, and what of it may have been here before."""
        key = (
            http.headers.get("Idempotency-Key") or None
        )  # an empty one is none: all of them would be one message
        if key is not None and body.message_id is not None and message_id_of(key) != body.message_id:
            raise Problem(
                422, "idempotency_conflict", "Idempotency-Key and message_id differ; send one of them."
            )
        given = body.message_id if body.message_id is not None else message_id_of(key)
        message_id = token(given, "message_id") if given is not None else new_message_id()
        request = WorkflowRequest(
            message_id=message_id,
            session_id=session_id,
            user_id=http[CALLER].user or clean_text(body.user_id or ""),
            message=clean_text(body.message),
            context=context,
            timestamp=iso(time.time()),
            correlation_id=clean_text(body.correlation_id or http[REQUEST_ID]),
        )
        return request, Known.MESSAGE if given is not None else Known.SESSION


def _limit(http: Request) -> int:
    text = http.query.get("limit", str(DEFAULT_PAGE))
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_PAGE:
        return int(text)
    raise Problem(422, "invalid_limit", f"limit must be a number from 1 to {MAX_PAGE}, got {text!r:.20}.")
