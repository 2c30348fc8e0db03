"""The section `limits`: how much one address, one session, one user and one tenant may have at a time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chatmesh.config.section import Count, Section

Limit = Annotated[Count, Field(ge=1, le=1_000_000)]

OF_CALLERS = (
    "failed_auth_per_minute",
    "user_messages_per_minute",
    "tenant_messages_per_minute",
    "user_answers",
    "tenant_answers",
    "busy_answers",
)
"""Those that need to know who is calling."""


class LimitsConfig(Section):
    """null: no limit. What is refused gets a 429 (`rate_limited`, `too_many_answers`, `mesh_busy`,
    `too_many_connections`, `too_many_failures`) and counts in chatmesh_limited_total; an event stream is told to come back,
    but for the last."""

    connections_per_address: Limit | None = Field(
        default=None,
        description="Connections of one address to one pod; twice as many are cut. A proxy is one address.",
    )
    failed_auth_per_minute: Limit | None = Field(
        default=None,
        description="Bad keys, tokens and tickets of one address at one pod, before it is refused unseen. A proxy is one address.",
    )
    readers_per_session: Limit | None = Field(
        default=None, description="Event streams of one session at one pod."
    )
    history_messages: Limit = Field(
        default=10_000, description="Messages of a conversation_history, or of a client that sends all of it."
    )
    user_messages_per_minute: Limit | None = Field(
        default=None, description="New messages of one user at one pod; so many may come at once."
    )
    tenant_messages_per_minute: Limit | None = Field(
        default=None, description="New messages of one tenant at one pod; so many may come at once."
    )
    user_answers: Limit | None = Field(
        default=None, description="Messages of one user that are queued or being answered, in the whole mesh."
    )
    tenant_answers: Limit | None = Field(
        default=None,
        description="Messages of one tenant that are queued or being answered, in the whole mesh. Below the workers' "
        "concurrency in all, it leaves room for the others.",
    )
    busy_answers: Limit | None = Field(
        default=None,
        description="Messages that are queued or being answered in the whole mesh from which on it is busy: whoever has "
        "a fair share of so many is refused more. The workers' concurrency in all keeps queues short.",
    )
