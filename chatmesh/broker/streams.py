"""The streams and the consumer of chatmesh, declared as data. `ensure` makes the broker agree.

Every stream that holds truth refuses when it is full (`discard: new`): a full one must not evict accepted requests,
claims or finals. Every stream has `max_bytes`, so that one of them can't take the disk from the others, and file
storage: a memory stream is gone after a broker restart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chatmesh.protocol import partitions, subjects

REQUESTS = "WORKFLOW_REQUESTS"
TRANSCRIPT = "CHAT_TRANSCRIPT"
SESSIONS = "CHAT_SESSIONS"
REGISTRY = "CHAT_REGISTRY"
PRESENCE = "CHAT_PRESENCE"
DEAD_LETTERS = "CHAT_DEAD_LETTERS"
CONSUMER = "workflow-processor"

REGISTRY_MAX_AGE_SECONDS = 48 * 3600
"""Pods write their entries again four times within it, so that an entry dies only with its pod."""

NANOSECONDS = 1_000_000_000


def transcript_name(part: int) -> str:
    """The stream of a part of the transcript; the first one has the name that it has where there is only one."""
    return TRANSCRIPT if part == 0 else f"{TRANSCRIPT}_{part}"


_STREAM_OF = {
    "workflow": REQUESTS,
    "session": TRANSCRIPT,
    "card": SESSIONS,
    "owned": SESSIONS,
    "home": SESSIONS,
    "registry": REGISTRY,
    "dead": DEAD_LETTERS,
}


def stream_of(subject: str) -> str:
    """The stream that stores what is published on one of our subjects with an acknowledgement."""
    kind, _, rest = subject.removeprefix("chat.").partition(".")
    if kind == "part" and (number := partitions.read(rest.partition(".")[0])) is not None:
        return transcript_name(number)
    return _STREAM_OF.get(kind, "")


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What we declare of a stream. Fields that stay at the server's default are not here and are not compared."""

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    max_age_seconds: float
    retention: str = "limits"
    discard: str = "new"
    max_msgs_per_subject: int = -1
    replicas: int = 1
    allow_msg_ttl: bool = False
    allow_rollup_hdrs: bool = False
    subject_transform: tuple[str, str] | None = None
    """What it stores under another subject, and under which; not compared where it is None."""

    def wire(self) -> dict[str, Any]:
        """The configuration as `$JS.API.STREAM.CREATE` takes it."""
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": self.retention,
            "storage": "file",
            "discard": self.discard,
            "max_bytes": self.max_bytes,
            "max_age": int(self.max_age_seconds * NANOSECONDS),
            "max_msgs_per_subject": self.max_msgs_per_subject,
            "num_replicas": self.replicas,
            "duplicate_window": min(120 * NANOSECONDS, int(self.max_age_seconds * NANOSECONDS)),
            "allow_direct": True,
            "allow_msg_ttl": self.allow_msg_ttl,
            "allow_rollup_hdrs": self.allow_rollup_hdrs,
        }
        if self.subject_transform is not None:
            source, destination = self.subject_transform
            config["subject_transform"] = {"src": source, "dest": destination}
        return config


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """The durable pull consumer of the workers.

    `max_deliver: -1`: every park, hand-over and broker restart counts as a delivery, and a bound would lose a queued
    message to its session; attempts are counted by claims. `max_ack_pending: -1`: parked requests are pending too and
    would starve other sessions. No `backoff`: it would replace `ack_wait`.
    """

    stream: str
    name: str
    ack_wait_seconds: float

    def wire(self) -> dict[str, Any]:
        return {
            "durable_name": self.name,
            "name": self.name,
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": int(self.ack_wait_seconds * NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": 8192,
            "replay_policy": "instant",
        }


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What the configuration decides about the streams."""

    replicas: int
    requests_max_age_seconds: float
    transcript_max_age_seconds: float
    requests_max_bytes: int
    transcript_max_bytes: int
    sessions_max_bytes: int
    registry_max_bytes: int
    presence_max_bytes: int
    dead_letters_max_bytes: int
    partitions: int = 1
    """Of the transcript, for new sessions."""

    @property
    def cards_max_age_seconds(self) -> float:
        """How long a card is kept: longer than anything of its session, since without it the session is nobody's.

        Say T is the transcript's age and R the requests'. Whoever accepts a message writes the card again if it is older
        than T / 2 (`cards_refresh_seconds`), so it is younger than that then. The request waits R at most; the last
        record comes as long after that as the answer takes, and is gone T later. T / 2 + R + T leaves T / 2 of
        2 T + R for the answer, which is more than any takes.
        """
        return 2 * self.transcript_max_age_seconds + self.requests_max_age_seconds

    @property
    def cards_refresh_seconds(self) -> float:
        """A card older than this is written again by whoever accepts a message."""
        return self.transcript_max_age_seconds / 2


TRANSCRIPT_SUBJECTS = (
    subjects.CLAIM_ALL,
    subjects.STOP_ALL,
    subjects.ERASED_ALL,
    subjects.TRANSCRIPT_ALL,
)


def _transcript(settings: StreamSettings, part: int | None) -> StreamSpec:
    """The whole transcript (None) or a part of it. A part takes only what is published to it by name, and stores it as the
    whole would: so whoever thinks that there are no parts can't write, and reading is the same."""
    spec = StreamSpec(
        transcript_name(part or 0),
        TRANSCRIPT_SUBJECTS,
        settings.transcript_max_bytes,
        settings.transcript_max_age_seconds,
        replicas=settings.replicas,
        # Erasing a session rolls its subjects up into a tombstone.
        allow_rollup_hdrs=True,
    )
    if part is None:
        return spec
    published = tuple(subjects.of_part(part, subject) for subject in spec.subjects)
    everything = "chat.session.>"
    return replace(
        spec, subjects=published, subject_transform=(subjects.of_part(part, everything), everything)
    )


def _transcripts(settings: StreamSettings, *, is_partitioned: bool) -> tuple[StreamSpec, ...]:
    if not is_partitioned:
        return (_transcript(settings, None),)
    return tuple(_transcript(settings, part) for part in range(settings.partitions))


def declared(settings: StreamSettings, *, is_partitioned: bool = False) -> tuple[StreamSpec, ...]:
    """Every stream, in the order in which they are made. `is_partitioned`: the transcript lies in parts already."""
    has_parts = is_partitioned or settings.partitions > 1
    return (
        StreamSpec(
            REQUESTS,
            (subjects.EXECUTE_ALL,),
            settings.requests_max_bytes,
            settings.requests_max_age_seconds,
            retention="workqueue",
            replicas=settings.replicas,
        ),
        *_transcripts(settings, is_partitioned=has_parts),
        StreamSpec(
            SESSIONS,
            # Without parts it is as an older version declares it, which would not run beside it otherwise.
            (subjects.CARD_ALL, subjects.OWNED_ALL, *((subjects.HOME_ALL,) if has_parts else ())),
            settings.sessions_max_bytes,
            settings.cards_max_age_seconds,
            max_msgs_per_subject=1,
            replicas=settings.replicas,
            # Erasing a session rolls its card up into a tombstone; its owner's list loses an entry by itself.
            allow_msg_ttl=True,
            allow_rollup_hdrs=True,
        ),
        StreamSpec(
            REGISTRY,
            (subjects.REGISTRY_ALL,),
            settings.registry_max_bytes,
            REGISTRY_MAX_AGE_SECONDS,
            max_msgs_per_subject=1,
            replicas=settings.replicas,
            # A released entry leaves a marker that dies by itself.
            allow_msg_ttl=True,
        ),
        StreamSpec(
            PRESENCE,
            (subjects.POD_HEARTBEATS, subjects.WORKER_HEARTBEATS, subjects.WORKER_LEASES),
            settings.presence_max_bytes,
            3600,
            discard="old",
            max_msgs_per_subject=1,
            replicas=settings.replicas,
        ),
        StreamSpec(
            DEAD_LETTERS,
            (subjects.DEAD_LETTERS_ALL,),
            settings.dead_letters_max_bytes,
            settings.transcript_max_age_seconds,
            replicas=settings.replicas,
            allow_rollup_hdrs=True,
        ),
    )
