"""The configuration as one typed, frozen tree. Its keys, defaults and units are what `config reference` prints.

Reading files, the environment and flags is in `load`; here is only what may stand where.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from chatmesh.config.auth import AuthConfig
from chatmesh.config.broken import RULE_BROKEN
from chatmesh.config.connection import NatsConfig
from chatmesh.config.identity import default_id
from chatmesh.config.limits import LimitsConfig
from chatmesh.config.model_rules import BUILT_IN_MODELS
from chatmesh.config.models import ModelConfig, Models, demo_only, plain
from chatmesh.config.rules import broken_rules
from chatmesh.config.sealing import SealingConfig
from chatmesh.config.section import (
    ModelName,
    Section,
    Token,
    Wants,
    not_empty,
    one_or_more,
    split_commas,
)
from chatmesh.config.sections import (
    BatchConfig,
    DemoConfig,
    HeartbeatConfig,
    HttpConfig,
    LogConfig,
    OpenaiConfig,
    SessionsConfig,
    SseConfig,
    StreamsConfig,
    WorkerConfig,
)
from chatmesh.config.tracing import TracingConfig

Role = Literal["pod", "worker"]


def _once_each(roles: tuple[Role, ...]) -> tuple[Role, ...]:
    return tuple(dict.fromkeys(roles))


Roles = Annotated[
    tuple[Role, ...],
    BeforeValidator(split_commas),
    WithJsonSchema(one_or_more({"enum": ["pod", "worker"]})),
    AfterValidator(_once_each),
    AfterValidator(not_empty),
    Wants("a list of pod and worker, or one of them"),
]


class Config(Section):
    """The whole configuration of one process."""

    roles: Roles = Field(default=("pod", "worker"), description="What this process does; --role overrides.")
    id: Token | None = Field(
        default=None,
        description="Id of the pod and the worker; null: from the host name, unique for each process.",
    )
    nats: NatsConfig = Field(default_factory=NatsConfig, description="The broker.")
    streams: StreamsConfig = Field(default_factory=StreamsConfig, description="What JetStream keeps.")
    http: HttpConfig = Field(default_factory=HttpConfig, description="The web server of a pod.")
    auth: AuthConfig = Field(default_factory=AuthConfig, description="Who may call.")
    sealing: SealingConfig = Field(default_factory=SealingConfig, description="Who can read what is stored.")
    sse: SseConfig = Field(default_factory=SseConfig, description="Streams to readers.")
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="How much at a time.")
    sessions: SessionsConfig = Field(
        default_factory=SessionsConfig, description="One answer at a time in a session."
    )
    worker: WorkerConfig = Field(default_factory=WorkerConfig, description="How a worker answers.")
    batch: BatchConfig = Field(default_factory=BatchConfig, description="Chunks leave a worker together.")
    heartbeat: HeartbeatConfig = Field(
        default_factory=HeartbeatConfig, description="Pods and workers are there."
    )
    models: Models = Field(
        default_factory=demo_only, description="Model name → provider, and what that provider asks for."
    )
    default_model: ModelName = Field(default="demo", description="The model of a request that names none.")
    demo: DemoConfig = Field(
        default_factory=DemoConfig, description="The built-in models demo, echo and count."
    )
    openai: OpenaiConfig = Field(default_factory=OpenaiConfig, description="The OpenAI-compatible endpoints.")
    log: LogConfig = Field(default_factory=LogConfig, description="Logs, on stderr.")
    tracing: TracingConfig = Field(default_factory=TracingConfig, description="Spans, for a collector.")

    @property
    def process_id(self) -> str:
        """The id given, else the default one, which stays the same as long as the process lives."""
        return self.id or default_id()

    @property
    def serves_http(self) -> bool:
        """Whether this process listens for HTTP."""
        return self.http.serves_http(self.roles)

    @property
    def served_models(self) -> Mapping[str, ModelConfig]:
        """What a worker serves: the built-in models and those of `models`; without demo.enabled, no demo at all."""
        built_in = {name: ModelConfig(provider="demo") for name in BUILT_IN_MODELS}
        if self.demo.enabled:
            return MappingProxyType(built_in | dict(self.models))
        return MappingProxyType({name: model for name, model in self.models.items() if not model.is_demo})

    @model_validator(mode="after")
    def _holds_together(self) -> Config:
        values = {
            "demo": {"enabled": self.demo.enabled},
            "models": plain(self.models),
            "roles": self.roles,
            "http": self.http.model_dump(),
            "auth": self.auth.model_dump(),
            "limits": self.limits.model_dump(),
        }
        for problem in broken_rules(values):
            raise PydanticCustomError(RULE_BROKEN, "{text}", {"text": problem.message})
        return self
