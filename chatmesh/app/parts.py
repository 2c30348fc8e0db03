"""Plain values of the configuration, in the words of the rooms that take them."""

from __future__ import annotations

from chatmesh.broker import RingFile, StreamSettings
from chatmesh.config import Config
from chatmesh.config.models import ModelConfig
from chatmesh.devbroker import EmbeddedServer
from chatmesh.devbroker.service import EmbeddedBroker
from chatmesh.ingress.limits import LimitSettings
from chatmesh.protocol.model_names import is_pattern
from chatmesh.protocol.spend import Price
from chatmesh.providers import Catalogue, Continuation, Model, Provider
from chatmesh.providers.demo import Demo
from chatmesh.providers.python import Python, load_function
from chatmesh.providers.settings import Settings as UpstreamSettings
from chatmesh.web import ServerSettings
from chatmesh.web.origins import LOCAL_NAMES, Origins

GIB = 1024**3

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"


def stream_settings(config: Config) -> StreamSettings:
    streams = config.streams
    return StreamSettings(
        replicas=streams.replicas,
        requests_max_age_seconds=streams.requests_max_age_hours * 3600,
        transcript_max_age_seconds=streams.transcript_max_age_hours * 3600,
        requests_max_bytes=streams.requests_max_bytes,
        transcript_max_bytes=streams.transcript_max_bytes,
        sessions_max_bytes=streams.sessions_max_bytes,
        registry_max_bytes=streams.registry_max_bytes,
        presence_max_bytes=streams.presence_max_bytes,
        dead_letters_max_bytes=streams.dead_letters_max_bytes,
        partitions=streams.partitions,
    )


def key_ring(config: Config) -> RingFile | None:
    """None: nothing is sealed. Raises ConfigError where the file can't be used."""
    path = config.sealing.key_ring
    return None if path is None else RingFile(path)


def server_settings(config: Config) -> ServerSettings:
    http = config.http
    return ServerSettings(
        http.host,
        http.port,
        max_body_bytes=http.max_body_bytes,
        request_timeout_seconds=http.request_timeout_seconds,
        write_timeout_seconds=config.sse.write_timeout_seconds,
        drain_wait_seconds=http.drain_wait_seconds,
        shutdown_seconds=http.shutdown_seconds,
        origins=origins(config),
        max_connections_per_address=config.limits.connections_per_address,
        share_port=http.share_port,
        own_port=http.own_port,
    )


def limit_settings(config: Config) -> LimitSettings:
    limits = config.limits
    return LimitSettings(
        limits.history_messages,
        limits.user_messages_per_minute,
        limits.tenant_messages_per_minute,
        limits.user_answers,
        limits.tenant_answers,
        limits.busy_answers,
    )


def origins(config: Config) -> Origins:
    """In development nobody has a proxy in front that calls us by a name of its own, and a browser is on this machine."""
    http = config.http
    hosts = None if http.allowed_hosts is None else frozenset(http.allowed_hosts)
    if hosts is None and config.nats.embedded and http.host in LOCAL_NAMES:
        hosts = LOCAL_NAMES
    return Origins(frozenset(http.allowed_origins), hosts)


def embedded_broker(config: Config) -> EmbeddedBroker:
    streams = config.streams
    needed = (
        streams.requests_max_bytes
        + streams.partitions * streams.transcript_max_bytes
        + streams.sessions_max_bytes
        + streams.dead_letters_max_bytes
        + streams.presence_max_bytes
        + streams.registry_max_bytes
    )
    return EmbeddedBroker(EmbeddedServer(config.nats.data_dir, max_store_bytes=needed + GIB))


def catalogue(config: Config) -> Catalogue:
    """The models that this process's workers serve. Raises ConfigError where a function can't be imported."""
    demo = Demo(config.demo.tokens_per_second)
    models = [
        Model(
            (name, *model.aliases),
            model.provider,
            _provider(name, model, demo, config.worker.concurrency),
            model.fallbacks,
            _price(model),
        )
        for name, model in config.served_models.items()
    ]
    return Catalogue(models, config.default_model)


def _price(model: ModelConfig) -> Price | None:
    if model.price_input is None and model.price_output is None:
        return None
    return Price(model.price_input or 0.0, model.price_output or 0.0)


def _provider(name: str, model: ModelConfig, demo: Demo, concurrency: int) -> Provider:
    match model.provider:
        case "openai":
            from chatmesh.providers.openai import Openai  # noqa: PLC0415 - httpx costs a start 0.1 s and 5 MB

            return Openai(_upstream(name, model, concurrency, OPENAI_URL))
        case "anthropic":
            from chatmesh.providers.anthropic import Anthropic  # noqa: PLC0415 - the same

            return Anthropic(_upstream(name, model, concurrency, ANTHROPIC_URL))
        case "python":
            function = load_function(str(model.function), where=f"models.{name}.function")
            return Python(function, Continuation(model.continuation or Continuation.RESTART))
        case _:
            return demo


def _upstream(name: str, model: ModelConfig, concurrency: int, base_url: str) -> UpstreamSettings:
    return UpstreamSettings(
        name,
        model.base_url or base_url,
        # What a pattern stands for goes to the server under the name that was asked for.
        model.model or (None if is_pattern(name) else name),
        concurrency,
        api_key=model.api_key.get_secret_value() if model.api_key is not None else None,
        continuation=Continuation(model.continuation or Continuation.OVERLAP),
        max_tokens=model.max_tokens,
        api_version=model.api_version,
        connect_seconds=model.connect_seconds,
        first_token_seconds=model.first_token_seconds,
        idle_seconds=model.idle_seconds,
        total_seconds=model.total_seconds,
        retries=model.retries,
    )
