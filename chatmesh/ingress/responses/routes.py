"""`/v1/responses`: create one, follow it, look at it, cancel it. Every response is a message of a session."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from chatmesh.broker import Ownership
from chatmesh.errors import BrokerError
from chatmesh.ingress.admission import Admission
from chatmesh.ingress.bodies import decode, validate
from chatmesh.ingress.conversation import waiting
from chatmesh.ingress.history import History
from chatmesh.ingress.intake import Accepted, Known
from chatmesh.ingress.openai import caller
from chatmesh.ingress.openai.failures import refuse
from chatmesh.ingress.reading import IngressSettings, message_id_of, read_json, traceparent_of
from chatmesh.ingress.repeats import Repeats, retry_key
from chatmesh.ingress.responses import operations
from chatmesh.ingress.responses.bodies import CreateResponse
from chatmesh.ingress.responses.understanding import check_results, understand, unsupported
from chatmesh.ingress.stopping import Stopping
from chatmesh.protocol.callers import Access, Caller
from chatmesh.protocol.cards import owner_of
from chatmesh.protocol.exchanges import Exchange
from chatmesh.protocol.jsontext import MAX_DEPTH, clean_text
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.openai_ids import read_response_id, response_id
from chatmesh.protocol.openai_responses import Asked, ResponseStream, response
from chatmesh.protocol.projection import Encode, Encoder
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token, new_message_id, new_session_id, token
from chatmesh.web import CALLER, Problem, Request, Response, Route, json_response, unknown_response
from chatmesh.web.request import REQUEST_ID

PATH = "/v1/responses"

CANCEL_SECONDS = 2.0
"""How long a cancel waits for the end that it has asked for, so that its answer can say so. It comes all the same."""

DEEPER = 2
"""A tool's schema lies so many levels deeper in the request that is made of the body, which workers measure again."""

Project = Callable[[Request, Token, Token, Encode, Mapping[str, str]], Awaitable[Response]]
Collect = Callable[[Request, Token, Token], Awaitable[list[dict[str, Any]] | None]]


class Responses:
    """`project` serves an answer as a stream in another format, `collect` waits for all of it."""

    def __init__(
        self,
        admission: Admission,
        history: History,
        stopping: Stopping,
        repeats: Repeats,
        ownership: Ownership,
        settings: IngressSettings,
        *,
        default_model: str,
        project: Project,
        collect: Collect,
    ) -> None:
        self._admission = admission
        self._history = history
        self._stopping = stopping
        self._repeats = repeats
        self._ownership = ownership
        self._settings = settings
        self._default_model = default_model
        self._project = project
        self._collect = collect

    @property
    def routes(self) -> list[Route]:
        one = f"{PATH}/{{response_id}}"
        return [
            Route("POST", PATH, self.create, operations.CREATE, refuse=refuse, access=Access.CHAT),
            Route(
                "GET",
                one,
                self.retrieve,
                operations.RETRIEVE,
                is_stream=True,
                refuse=refuse,
                access=Access.READ,
            ),
            Route(
                "POST",
                f"{one}/cancel",
                self.cancel,
                operations.CANCEL,
                refuse=refuse,
                access=Access.CHAT,
            ),
        ]

    async def create(self, http: Request) -> Response:
        self._admission.check_open()
        data = await read_json(http, self._settings)
        body = validate(CreateResponse, decode(data, depth=MAX_DEPTH - DEEPER))
        request, known, repeat = await self._asked_for(http, body, data)
        if body.background and not body.stream:
            return await self._created(http, body, request, await self._admit(http, request, known, repeat))
        with self._admission.listen(http, request.session_id, request.message_id) as coming:
            accepted = await self._admit(http, request, known, repeat)
            coming.queue_seq = accepted.queue_seq
            return await self._created(http, body, request, accepted)

    async def _created(
        self, http: Request, body: CreateResponse, request: WorkflowRequest, accepted: Accepted
    ) -> Response:
        session_id, message_id = request.session_id, request.message_id
        exchange = waiting(request)
        if accepted.is_duplicate:
            exchange, _ = await self._known(session_id, message_id)
        if body.stream:
            return await self._stream(http, session_id, exchange, starting_after=-1)
        if not body.background:
            if await self._collect(http, session_id, message_id) is None:
                raise Problem(
                    504,
                    "answer_unfinished",
                    "This pod leaves before the answer has ended, which goes on: retrieve "
                    f"{response_id(session_id, message_id)}.",
                )
            return await self._answer(session_id, message_id)
        return self._object(session_id, exchange, is_claimed=False)

    async def retrieve(self, http: Request) -> Response:
        session_id, message_id = _ids(http)
        self._admission.check_broker()
        starting_after = _starting_after(http)
        exchange, is_claimed = await self._retrievable(session_id, message_id)
        if http.query.get("stream") != "true":
            return self._object(session_id, exchange, is_claimed=is_claimed)
        return await self._stream(http, session_id, exchange, starting_after=starting_after)

    async def cancel(self, http: Request) -> Response:
        """Stop it. Of one that has ended: as it is."""
        session_id, message_id = _ids(http)
        self._admission.check_broker()
        await self._retrievable(session_id, message_id)
        if await self._stopping.stop(session_id, message_id):
            with suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await self._collect(http, session_id, message_id)
        return await self._answer(session_id, message_id)

    # --- a response ------------------------------------------------------------------------------------------------

    async def _known(self, session_id: Token, message_id: Token) -> tuple[Exchange, bool]:
        found = await self._history.exchange(session_id, message_id)
        if found is None:
            raise unknown_response()
        return found

    async def _retrievable(self, session_id: Token, message_id: Token) -> tuple[Exchange, bool]:
        """One that was not to be stored is there while it runs, so that its stream can be come back to."""
        exchange, is_claimed = await self._known(session_id, message_id)
        if exchange.final is not None and not self._asked(session_id, exchange).is_stored:
            raise unknown_response()
        return exchange, is_claimed

    async def _answer(self, session_id: Token, message_id: Token) -> Response:
        exchange, is_claimed = await self._known(session_id, message_id)
        return self._object(session_id, exchange, is_claimed=is_claimed)

    def _object(self, session_id: Token, exchange: Exchange, *, is_claimed: bool) -> Response:
        told = response(
            self._asked(session_id, exchange),
            exchange.chunks,
            resets=exchange.resets,
            has_begun=exchange.has_begun or is_claimed,
        )
        return json_response(told, headers=_headers(session_id, exchange.message_id))

    async def _stream(
        self, http: Request, session_id: Token, exchange: Exchange, *, starting_after: int
    ) -> Response:
        asked = self._asked(session_id, exchange)

        def encode(resets: int) -> Encoder:
            return ResponseStream(asked, resets=resets, starting_after=starting_after)

        message_id = exchange.message_id
        return await self._project(http, session_id, message_id, encode, _headers(session_id, message_id))

    def _asked(self, session_id: Token, exchange: Exchange) -> Asked:
        id = response_id(session_id, exchange.message_id)
        return Asked.of(id, exchange.asked, default_model=self._default_model)

    # --- a request -------------------------------------------------------------------------------------------------

    async def _asked_for(
        self, http: Request, body: CreateResponse, data: bytes
    ) -> tuple[WorkflowRequest, Known, Token | None]:
        """The request, what of it may have been here before, and what stands for it when an SDK sends it again; none where the
        client gave it an id."""
        key = message_id_of(http.headers.get("Idempotency-Key") or None)
        if key is not None:
            session_id = await self._session(http, body) or _session_of(key, http[CALLER])
            return (
                self._request(http, body, session_id, token(key, "Idempotency-Key")),
                Known.MESSAGE,
                None,
            )
        user_id, named = http[CALLER].user or body.user or "", http.headers.get(caller.SESSION)
        repeat = retry_key(PATH, http.headers, http[CALLER], user_id, named, data)
        first = await self._repeats.find(http.headers, repeat)
        given = await self._session(http, body) if first is None else None
        ids = first or (given or new_session_id(), new_message_id())
        known = Known.MESSAGE if first is not None else Known.SESSION if given is not None else Known.NOTHING
        return self._request(http, body, *ids), known, repeat

    async def _admit(
        self, http: Request, request: WorkflowRequest, known: Known, repeat: Token | None
    ) -> Accepted:
        """Durable: under the id that the client gave it, or so that it is recognised when an SDK sends it again."""
        who, traceparent = http[CALLER], traceparent_of(http)
        if repeat is None:
            return await self._admission.admit(request, caller=who, known=known, traceparent=traceparent)
        return await self._repeats.admit(request, repeat, caller=who, known=known, traceparent=traceparent)

    def _request(
        self, http: Request, body: CreateResponse, session_id: Token, message_id: Token
    ) -> WorkflowRequest:
        understood = understand(body, self._default_model)
        return WorkflowRequest(
            message_id=message_id,
            session_id=session_id,
            user_id=http[CALLER].user or clean_text(body.user or ""),
            message=clean_text(understood.message),
            context=understood.context,
            timestamp=iso(time.time()),
            correlation_id=http[REQUEST_ID],
        )

    async def _session(self, http: Request, body: CreateResponse) -> Token | None:
        """The previous response's, or the one that is named."""
        place = caller.SESSION if http.headers.get(caller.SESSION) else "metadata.session_id"
        named = http.headers.get(caller.SESSION) or (body.metadata or {}).get("session_id") or None
        if body.previous_response_id is not None:
            ids = read_response_id(body.previous_response_id)
            if ids is None:
                raise unknown_response()
            await self._check_owner(http, ids[0])
            previous, _ = await self._known(*ids)
            if not self._asked(ids[0], previous).is_stored:
                raise unknown_response()
            check_results(body, previous)
            if named not in (None, ids[0]):
                raise unsupported("previous_response_id", f"it is of another session than {named!r:.80}")
            return ids[0]
        return caller.named(named, place) if named is not None else None

    async def _check_owner(self, http: Request, session_id: Token) -> None:
        """Of the previous response: before anything of it is read. Problem 404 `unknown_response`, 503 `broker_away`."""
        try:
            if not await self._ownership.is_theirs(http[CALLER], session_id):
                raise unknown_response()
        except BrokerError as error:
            raise Problem(
                503, "broker_away", "Nothing was accepted: NATS is away.", retry_after_seconds=2
            ) from error


def _session_of(key: str, who: Caller) -> Token:
    """A new one, and the same each time. Two people's equal keys are two sessions."""
    owner = owner_of(who.tenant, who.user) if who.user else ""
    digest = hashlib.blake2b(f"{owner}{key}".encode(), digest_size=12)
    return Token(f"sess_{digest.hexdigest()}")


def _headers(session_id: Token, message_id: Token) -> dict[str, str]:
    return {"X-Session-Id": session_id, "X-Message-Id": message_id}


def _ids(http: Request) -> tuple[Token, Token]:
    ids = read_response_id(http.match_info["response_id"])
    if ids is None:
        raise unknown_response()
    return ids


def _starting_after(http: Request) -> int:
    text = http.query.get("starting_after", "-1")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise Problem(422, "invalid", f"starting_after must be a sequence_number, got {text!r:.40}.")
    return int(text)
