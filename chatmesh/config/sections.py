"""The sections whose keys stand alone: streams, http, sse, sessions, worker, batch, heartbeat, demo, openai, log.

Each is a model with nothing but keys, bounds and descriptions; the descriptions name the units.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from chatmesh.config.section import (
    Amount,
    Count,
    Flag,
    Hours,
    Line,
    Seconds,
    Section,
    StoreBytes,
    Wants,
    one_or_more,
    split_commas,
)

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
_DEFAULT_PORTS = (("http://", ":80"), ("https://", ":443"))


def _origin(value: str) -> str:
    """Browsers write origins in small letters, without a default port and without a path."""
    has_default = any(value.startswith(scheme) and value.endswith(port) for scheme, port in _DEFAULT_PORTS)
    if not _ORIGIN.fullmatch(value) or has_default:
        raise ValueError(
            f"expected an origin such as https://app.example.com (small letters, no default port, no path, no *), got "
            f"{value!r}"
        )
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", value):
        raise ValueError(f"expected a name such as chat.example.com, without a port, got {value!r}")
    return value.strip("[]")


Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...],
    BeforeValidator(split_commas),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    Wants("a list of origins such as https://app.example.com"),
]
Hosts = Annotated[
    tuple[Annotated[str, AfterValidator(_host)], ...],
    BeforeValidator(split_commas),
    WithJsonSchema(one_or_more({"type": "string"})),
    Wants("a list of names such as chat.example.com"),
]


class StreamsConfig(Section):
    """What JetStream keeps, how long and how much."""

    replicas: Annotated[Count, Field(ge=1, le=5)] = Field(
        default=1, description="Copies of each stream in the cluster; 3 survive the loss of one server."
    )
    partitions: Annotated[Count, Field(ge=1, le=64)] = Field(
        default=1, description="Streams that new sessions' transcripts are spread over."
    )
    requests_max_age_hours: Hours = Field(
        default=24, description="How long a request may wait for a worker, in hours."
    )
    transcript_max_age_hours: Hours = Field(
        default=168, description="How long answers can be replayed, in hours."
    )
    requests_max_bytes: StoreBytes = Field(default=2**28, description="Size of the work queue, in bytes.")
    transcript_max_bytes: StoreBytes = Field(default=2**31, description="Size of the transcript, in bytes.")
    sessions_max_bytes: StoreBytes = Field(
        default=2**28, description="Size of the cards that say whose a session is, in bytes."
    )
    dead_letters_max_bytes: StoreBytes = Field(
        default=2**26, description="Size of the dead letters, in bytes."
    )
    presence_max_bytes: StoreBytes = Field(
        default=2**24, description="Size of the last heartbeats, in bytes."
    )
    registry_max_bytes: StoreBytes = Field(
        default=2**26, description="Size of the registry of sessions, in bytes."
    )


class HttpConfig(Section):
    """The web server of a pod."""

    enabled: Flag | None = Field(default=None, description="Whether HTTP is served; null: by pods only.")
    host: Line = Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0 is every IPv4 address."
    )
    port: Annotated[Count, Field(ge=0, le=65_535)] = Field(
        default=8080, description="Port to listen on; 0 takes a free one."
    )
    share_port: Flag = Field(
        default=False,
        description="Whether other processes of the same user may listen on the port too; the kernel spreads connections over "
        "them. `chatmesh run --processes` sets it.",
    )
    own_port: Annotated[Count, Field(ge=1, le=65_535)] | None = Field(
        default=None,
        description="A second port, for this process alone where it shares the first one: its own metrics and probes.",
    )
    max_body_bytes: Annotated[Count, Field(ge=1, le=2**26)] = Field(
        default=1_048_576,
        description="Largest body of a request, in bytes; the broker's max_payload counts too.",
    )
    allowed_origins: Origins = Field(
        default=(),
        description="Pages of other origins that may call from a browser, exactly as browsers name them.",
    )
    allowed_hosts: Hosts | None = Field(
        default=None,
        description="Names in Host that are answered, without ports; null: any, but with nats.embedded (development) on a "
        "loopback address only localhost, 127.0.0.1 and [::1].",
    )
    request_timeout_seconds: Seconds = Field(
        default=30, description="How long reading a request's head and body may take, in seconds."
    )
    drain_wait_seconds: Annotated[Amount, Field(ge=0, le=86_400)] = Field(
        default=0,
        description="How long a pod that leaves goes on serving its readers, not ready, before it sends them away, in "
        "seconds: what load balancers take to notice.",
    )
    shutdown_seconds: Seconds = Field(
        default=10,
        description="How long readers and requests under way get to end when the server stops, in seconds.",
    )

    def serves_http(self, roles: Collection[str]) -> bool:
        """Whether a process with these roles listens: what `enabled` says, else whether it is a pod."""
        return "pod" in roles if self.enabled is None else self.enabled


class SseConfig(Section):
    """Streams to readers."""

    keepalive_seconds: Seconds = Field(
        default=15, description="Pause between two keep-alive comments, in seconds."
    )
    max_buffer_bytes: Annotated[Count, Field(ge=1024, le=2**30)] = Field(
        default=262_144,
        description="Memory for one slow reader, in bytes; past it the reader goes on from the transcript.",
    )
    max_connections: Annotated[Count, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Readers of one pod at a time."
    )
    write_timeout_seconds: Seconds = Field(
        default=30, description="A reader whose connection takes nothing for so long is cut, in seconds."
    )


MAX_HISTORY_TURNS = 100
"""A claim points to so many messages before its own."""


class SessionsConfig(Section):
    """One answer at a time in a session."""

    on_busy: Literal["queue", "reject", "interrupt"] = Field(
        default="queue",
        description="A message while another is answered: queue waits, reject refuses it, interrupt stops the other.",
    )
    queue_limit: Annotated[Count, Field(ge=0, le=1_000_000)] = Field(
        default=100, description="Messages that may wait in one session; past it 429."
    )
    history_turns: Annotated[Count, Field(ge=0, le=MAX_HISTORY_TURNS)] = Field(
        default=50,
        description="Messages before it, with their answers, that a model gets where the request brings no history.",
    )
    history_tokens: Annotated[Count, Field(ge=0, le=10_000_000)] = Field(
        default=32_000, description="About so many tokens of them; the oldest are left out."
    )


class WorkerConfig(Section):
    """How a worker takes requests and answers them."""

    concurrency: Annotated[Count, Field(ge=1, le=100_000)] = Field(
        default=64, description="Answers that one worker generates at a time."
    )
    ack_wait_seconds: Annotated[Seconds, Field(ge=0.1)] = Field(
        default=3,
        description="A worker that is silent for so long has lost its request to another, in seconds.",
    )
    max_attempts: Annotated[Count, Field(ge=1, le=1000)] = Field(
        default=5,
        description="Attempts at one message; then it ends with an error and goes to the dead letters.",
    )
    drain_seconds: Annotated[Amount, Field(ge=0, le=86_400)] = Field(
        default=30, description="How long running answers get to end after SIGTERM, in seconds."
    )
    max_parked: Annotated[Count, Field(ge=0, le=1_000_000)] = Field(
        default=1024,
        description="Requests that one worker holds back while an earlier one of their session runs.",
    )
    holder_timeout_seconds: Seconds = Field(
        default=0.5,
        description="How long a worker waits for the one that holds an answer to say that it lives, in seconds; then it takes over.",
    )
    fenced: Flag = Field(
        default=True,
        description="false: for `chatmesh chaos --unfenced` only. A worker that lost its claim still writes.",
    )


class BatchConfig(Section):
    """Chunks leave a worker together; whichever limit is reached first sends them."""

    flush_ms: Annotated[Count, Field(ge=1, le=60_000)] = Field(
        default=50, description="How long a chunk waits for others, in milliseconds."
    )
    max_chunks: Annotated[Count, Field(ge=1, le=10_000)] = Field(
        default=100, description="Chunks in one batch."
    )


class HeartbeatConfig(Section):
    """Pods and workers say that they are there."""

    interval_seconds: Seconds = Field(default=5, description="Pause between two heartbeats, in seconds.")


class DemoConfig(Section):
    """The built-in models demo, echo and count: no key, no network, deterministic."""

    enabled: Flag = Field(default=True, description="false: the models demo, echo and count don't exist.")
    tokens_per_second: Annotated[Amount, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Pace of echo and count, in tokens a second; 0 is unlimited."
    )


class OpenaiConfig(Section):
    """The OpenAI-compatible endpoints."""

    cancel_on_disconnect: Flag = Field(
        default=False, description="true: a client that disconnects stops its answer."
    )


class LogConfig(Section):
    """Logs, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged at least."
    )
    format: Literal["auto", "pretty", "json"] = Field(
        default="auto", description="auto: pretty on a terminal, JSON otherwise."
    )
