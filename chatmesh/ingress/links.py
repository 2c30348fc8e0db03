"""`POST …/ticket` and `POST …/share`: what a caller hands to a browser's EventSource, or to somebody else."""

from __future__ import annotations

import time
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from chatmesh.broker import Ownership
from chatmesh.errors import BrokerError
from chatmesh.ingress.bodies import decode, validate
from chatmesh.ingress.reading import IngressSettings, read_json, token_in
from chatmesh.protocol.callers import Access, Caller
from chatmesh.protocol.tokens import Token
from chatmesh.web import CALLER, Problem, Request, Response, Route, json_response, unknown_session
from chatmesh.web.openapi import Answer, Operation

MAX_SHARE_SECONDS = 30 * 86_400
TICKET_SECONDS = 30


class Share(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    ttl: Annotated[int, Field(ge=1, le=MAX_SHARE_SECONDS)] = Field(
        default=86_400, description="How long it shows the session, in seconds."
    )


class TicketAnswer(TypedDict):
    ticket: str
    expires_in: Annotated[int, Field(description="Seconds.")]
    url: Annotated[str, Field(description="The session's events, with the ticket.")]


class ShareAnswer(TypedDict):
    token: Annotated[str, Field(description="A bearer token that reads this session, and nothing else.")]
    expires_in: Annotated[int, Field(description="Seconds.")]


_PROBLEMS = {
    404: ("unknown_session", "no_links"),
    422: ("invalid_id", "invalid_body"),
    503: ("broker_away",),
}

POST_TICKET = Operation(
    "postTicket",
    "Get a ticket for the session's events, for clients that can't send headers.",
    {200: Answer("Good once, within seconds.", TicketAnswer)},
    {422: ("invalid_id",), 404: ("unknown_session", "no_links"), 503: ("broker_away",)},
    description="A session that is not there yet will do: its first message may come after the ticket.",
)

POST_SHARE = Operation(
    "postShare",
    "Show the session to somebody else, read only.",
    {
        200: Answer(
            "Whoever has it may read the session, until it ends or the session is erased.", ShareAnswer
        )
    },
    {
        400: ("not_json",),
        408: ("request_timeout",),
        413: ("too_large",),
        415: ("not_json_type", "unsupported_encoding"),
        **_PROBLEMS,
    },
    body=Share,
    example={"ttl": 3600},
)


class Signer(Protocol):
    def ticket(self, caller: Caller, session_id: Token, now: float) -> str: ...
    def share(self, tenant: str, session_id: Token, nonce: str, expires_at: float) -> str: ...


class Links:
    """`signer` None: no secret is configured, or nobody is asked who is calling."""

    def __init__(self, ownership: Ownership, settings: IngressSettings, signer: Signer | None) -> None:
        self._ownership = ownership
        self._settings = settings
        self._signer = signer

    @property
    def routes(self) -> list[Route]:
        session = "/v1/sessions/{session_id}"
        return [
            # A session may be followed before it begins; whose it is then is seen by the stream.
            Route(
                "POST",
                f"{session}/ticket",
                self.post_ticket,
                POST_TICKET,
                access=Access.READ,
                checks_session=True,
            ),
            Route("POST", f"{session}/share", self.post_share, POST_SHARE, access=Access.CHAT),
        ]

    async def post_ticket(self, http: Request) -> Response:
        session_id = token_in(http, "session_id")
        ticket = self._signing().ticket(http[CALLER], session_id, time.time())
        answer: TicketAnswer = {
            "ticket": ticket,
            "expires_in": TICKET_SECONDS,
            "url": f"/v1/sessions/{session_id}/events?ticket={ticket}",
        }
        return json_response(answer)

    async def post_share(self, http: Request) -> Response:
        session_id = token_in(http, "session_id")
        signer = self._signing()
        body = validate(Share, decode(await read_json(http, self._settings)))
        try:
            card = await self._ownership.card(session_id)
        except BrokerError as error:
            raise Problem(503, "broker_away", "NATS is away.", retry_after_seconds=2) from error
        if card is None:
            raise unknown_session()
        caller = http[CALLER]
        answer: ShareAnswer = {
            "token": signer.share(caller.tenant, session_id, card.nonce, time.time() + body.ttl),
            "expires_in": body.ttl,
        }
        return json_response(answer)

    def _signing(self) -> Signer:
        if self._signer is None:
            raise Problem(
                404, "no_links", "Tickets and shared links need auth.mode api_keys or jwt, and auth.secret."
            )
        return self._signer
