"""The native routes: POST a message, read history, alive and ready."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from chatmesh.errors import ProtocolError
from chatmesh.ingress import operations
from chatmesh.ingress.answers import MessageAccepted, MessageStopping, SessionErasing
from chatmesh.ingress.bodies import DEFAULT_PAGE, MAX_PAGE, PostMessage, parse_post
from chatmesh.ingress.erasing import Erasing
from chatmesh.ingress.history import History
from chatmesh.ingress.intake import Intake
from chatmesh.ingress.stopping import Stopping
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.model_names import is_served
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token, is_token, new_message_id, token
from chatmesh.telemetry import get_logger
from chatmesh.web import Problem, Request, Response, Route, json_response, read_body
from chatmesh.web.request import REQUEST_ID

log = get_logger("ingress")

REQUEST_MARGIN = 512
"""What the transcript's first record has around the request's text."""

Inline = Callable[[Request, Token, Token, Mapping[str, str]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class IngressSettings:
    """Bounds of a request, in bytes and seconds."""

    max_body_bytes: int
    body_seconds: float


class Ingress:
    """`inline` serves an answer in the answer to its POST; `expect` tells the hub that one is on its way; `models` are
    the served ones (None: nobody knows yet); `max_payload` is the broker's limit; `is_open`: new messages are taken."""

    def __init__(
        self,
        intake: Intake,
        history: History,
        stopping: Stopping,
        erasing: Erasing,
        settings: IngressSettings,
        *,
        pod_id: Token,
        default_model: str,
        inline: Inline,
        expect: Callable[[Token, Token], None],
        models: Callable[[], set[str] | None],
        max_payload: Callable[[], int],
        is_open: Callable[[], bool],
    ) -> None:
        self._intake = intake
        self._history = history
        self._stopping = stopping
        self._erasing = erasing
        self._settings = settings
        self._pod_id = pod_id
        self._default_model = default_model
        self._inline = inline
        self._expect = expect
        self._models = models
        self._max_payload = max_payload
        self._is_open = is_open

    @property
    def routes(self) -> list[Route]:
        session = "/v1/sessions/{session_id}"
        return [
            Route("POST", f"{session}/messages", self.post_message, operations.POST_MESSAGE),
            Route("GET", f"{session}/messages", self.get_messages, operations.GET_MESSAGES),
            Route("GET", f"{session}/messages/{{message_id}}", self.get_message, operations.GET_MESSAGE),
            Route(
                "DELETE", f"{session}/messages/{{message_id}}", self.delete_message, operations.DELETE_MESSAGE
            ),
            Route("GET", "/v1/sessions", self.get_sessions, operations.GET_SESSIONS),
            Route("DELETE", session, self.delete_session, operations.DELETE_SESSION),
        ]

    async def post_message(self, http: Request) -> Response:
        began = time.monotonic()
        session_id = _token(http, "session_id")
        if not self._is_open():
            raise Problem(503, "not_ready", "This pod takes no messages now.", retry_after_seconds=2)
        if http.content_type != "application/json":
            raise Problem(415, "not_json_type", f"Send application/json, not {http.content_type}.")
        data = await read_body(
            http, max_bytes=self._settings.max_body_bytes, seconds=self._settings.body_seconds
        )
        body, context = parse_post(data)
        request, may_be_known = self._request(http, session_id, body, context)
        self._check_model(request)
        self._check_size(request)
        accepted = await self._intake.accept(request, may_be_known=may_be_known)
        if accepted.interrupts:
            await self._stopping.interrupt(session_id, request.message_id)
        if not accepted.is_duplicate:
            self._expect(session_id, request.message_id)
        log.info(
            "ingress.accepted",
            session_id=session_id,
            message_id=request.message_id,
            correlation_id=request.correlation_id,
            pod_id=self._pod_id,
            duplicate=accepted.is_duplicate,
            latency_ms=round((time.monotonic() - began) * 1000, 1),
        )
        message_id = request.message_id
        if "text/event-stream" in http.headers.get("Accept", ""):
            headers = {"X-Message-Id": message_id, "X-Session-Id": session_id}
            return await self._inline(http, session_id, message_id, headers)
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
        session_id = _token(http, "session_id")
        limit = _limit(http)
        return json_response(await self._history.page(session_id, limit=limit, after=http.query.get("after")))

    async def get_message(self, http: Request) -> Response:
        session_id, message_id = _token(http, "session_id"), _token(http, "message_id")
        return json_response(await self._history.message(session_id, message_id))

    async def delete_message(self, http: Request) -> Response:
        """Stop it. 202 while it is being stopped, 200 with its state once it has ended."""
        session_id, message_id = _token(http, "session_id"), _token(http, "message_id")
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
        return json_response(await self._history.sessions(limit=limit, after=http.query.get("after", "")))

    async def delete_session(self, http: Request) -> Response:
        """Erase it: 202, and from then on reads are 404."""
        session_id = _token(http, "session_id")
        await self._erasing.erase(session_id)
        answer: SessionErasing = {"session_id": session_id, "status": "erasing"}
        return json_response(answer, status=202)

    # --- a message -------------------------------------------------------------------------------------------------

    def _request(
        self, http: Request, session_id: Token, body: PostMessage, context: dict[str, object]
    ) -> tuple[WorkflowRequest, bool]:
        """The request, and whether its id came from the client."""
        key = http.headers.get("Idempotency-Key")
        if key is not None and body.message_id is not None and _from_key(key) != body.message_id:
            raise Problem(
                422, "idempotency_conflict", "Idempotency-Key and message_id differ; send one of them."
            )
        given = body.message_id if body.message_id is not None else _from_key(key)
        message_id = token(given, "message_id") if given is not None else new_message_id()
        request = WorkflowRequest(
            message_id=message_id,
            session_id=session_id,
            user_id=clean_text(body.user_id or ""),
            message=clean_text(body.message),
            context=context,
            timestamp=iso(time.time()),
            correlation_id=clean_text(body.correlation_id or http[REQUEST_ID]),
        )
        return request, given is not None

    def _check_model(self, request: WorkflowRequest) -> None:
        """While no worker was heard of, a message is accepted and waits."""
        known = self._models()
        model = request.model or self._default_model
        if known is not None and not is_served(model, known):
            raise Problem(
                422,
                "unknown_model",
                f"No worker serves the model {model!r:.80}. Served: {', '.join(sorted(known))}.",
                more={"models": sorted(known)},
            )

    def _check_size(self, request: WorkflowRequest) -> None:
        size, most = len(request.encode()), self._max_payload() - REQUEST_MARGIN
        if size > most:
            raise Problem(
                413, "too_large", f"The message takes {size} bytes on its way; the broker takes {most}."
            )


def _token(http: Request, name: str) -> Token:
    try:
        return token(http.match_info[name], name)
    except ProtocolError as error:
        raise Problem(422, "invalid_id", str(error)) from error


def _from_key(key: str | None) -> str | None:
    """A message id of an Idempotency-Key: itself where it is one, else made of it, the same each time."""
    if key is None or is_token(key):
        return key
    return f"key_{hashlib.blake2b(key.encode(errors='surrogateescape'), digest_size=16).hexdigest()}"


def _limit(http: Request) -> int:
    text = http.query.get("limit", str(DEFAULT_PAGE))
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_PAGE:
        return int(text)
    raise Problem(422, "invalid_limit", f"limit must be a number from 1 to {MAX_PAGE}, got {text!r:.20}.")
