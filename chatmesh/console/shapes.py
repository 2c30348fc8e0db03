"""What the operator's endpoints answer, as types for `/openapi.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, Json
from typing_extensions import TypedDict

Milliseconds = Annotated[int, Field(description="Since the Unix epoch.")]


class MeshMember(TypedDict):
    """A pod or worker, by its last heartbeat. `late` and `silent` ones leave after a while."""

    role: Literal["pod", "worker"]
    id: str
    state: Literal["alive", "late", "silent", "gone"]
    status: str
    age_seconds: float
    load: Annotated[int, Field(description="Open connections of a pod, running answers of a worker.")]
    subscriptions: Annotated[int | None, Field(description="At the broker; null where it does not say.")]
    memory_mb: float
    cpu_percent: float
    models: list[str]


class Tile(TypedDict):
    """One of the five key metrics, of this pod's own process."""

    name: Literal["publish_rate", "delivery_lag", "message_size", "errors", "subscriptions"]
    value: float | None
    mean: NotRequired[float | None]
    level: Literal["good", "look", "bad", "none"]
    thresholds: list[float]
    parts: Annotated[dict[str, float | None], Field(description="By the subject's pattern.")]


class TimelineAttempt(TypedDict):
    """One worker's try."""

    attempt: int
    worker_id: str
    began_at: Milliseconds
    ended_at: Milliseconds | None
    handed_over: bool


class TimelineMessage(TypedDict):
    """When what happened to a message. `pods` had readers of its session, until it ended."""

    session_id: str
    message_id: str
    accepted_at: Milliseconds | None
    first_at: Milliseconds | None
    last_at: Milliseconds | None
    ended_at: Milliseconds | None
    outcome: str | None
    attempts: list[TimelineAttempt]
    pods: list[str]


class MeshFrame(TypedDict):
    """One look at the mesh."""

    at: str
    now: Annotated[
        int, Field(description="The same by the broker's clock, in milliseconds since the Unix epoch.")
    ]
    server: str
    pod_id: str
    interval_seconds: Annotated[float, Field(description="Between two heartbeats.")]
    members: list[MeshMember]
    rates: dict[str, float | None] | None
    batches_per_second: float | None
    queue: dict[str, Any]
    tiles: list[Tile]
    readers: dict[str, float]
    messages: list[TimelineMessage]


class OpsEvent(TypedDict, total=False):
    """One server-sent event: a look each second, or why there is none."""

    event: Literal["frame", "away", "drain"]
    id: Annotated[str, Field(description="Counts looks.")]
    data: Json[MeshFrame | dict[str, str]]
    retry: int


class LetterRow(TypedDict):
    """A dead letter, without what its request says."""

    letter_id: str
    time: str
    session_id: str
    message_id: Annotated[str | None, Field(description="Null where the request can't be read.")]
    bytes: int
    reason: str


class LetterPage(TypedDict):
    letters: list[LetterRow]
    next: Annotated[str | None, Field(description="`after` of the next page.")]


class LetterRetried(TypedDict):
    """`retry_of`: what its message was called, where that one has ended; `duplicate`: it was queued again before."""

    letter_id: str
    session_id: str
    message_id: str | None
    retry_of: str | None
    duplicate: bool


class LetterDropped(TypedDict):
    letter_id: str
    status: Literal["dropped"]


class SessionRow(TypedDict):
    """A session, without what was said in it."""

    session_id: str
    state: Literal["running", "queued", "idle"]
    unanswered: int
    message_id: str | None
    worker_id: str | None
    attempt: int | None
    claimed_at: str | None
    pods: list[str]


class SessionRows(TypedDict):
    sessions: list[SessionRow]
    next: Annotated[int | None, Field(description="`before` of the next page.")]
    has_more_busy: bool


class ReplayPiece(TypedDict):
    """`text` is null where the caller may not read the session."""

    kind: Literal["question", "answer", "reset", "end"]
    message_id: str
    at: Milliseconds
    attempt: int
    characters: int
    text: str | None
    finish_reason: str | None


class ReplayPage(TypedDict):
    session_id: str
    is_readable: Annotated[bool, Field(description="Whether the caller may read what was said.")]
    pieces: list[ReplayPiece]
    next: Annotated[int | None, Field(description="`after` of the next page.")]
