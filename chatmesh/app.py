"""The composition root: Config → a supervised tree. The one module that knows every room.

Children stand in flow order: sinks start before sources, and sources stop before sinks. Every bound of a mailbox is
chosen here.

    root ─┬─ nats-server         (embedded mode)
          ├─ broker  ─┬─ connection ─ replies ─ publisher ─ streams
          ├─ worker  ─┬─ identity ─ roster ─ router ─ batcher ─ leases ─ stops ─ health ─ beacon ─ desk ─ puller
          └─ pod     ─┬─ identity ─ roster ─ holdings ─ mender ─ pulse ─ responses ─ broadcasts ─ health ─ beacon ─ server

Pod and worker meet only over NATS, in one process too.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from chatmesh.broker import CONSUMER, REQUESTS, Address, Broker, Delivery, Puller, StreamSettings
from chatmesh.config import Config
from chatmesh.config.connection import TlsConfig
from chatmesh.devbroker import EmbeddedServer
from chatmesh.devbroker.service import EmbeddedBroker
from chatmesh.errors import ChatmeshError, ConfigError
from chatmesh.hub import BroadcastInbox, EventStreams, Hub, HubSettings, Mender, Pulse, ResponseInbox
from chatmesh.hub.channel import Channel
from chatmesh.ingress import Erasing, History, Ingress, IngressSettings, Intake, IntakeSettings, Stopping
from chatmesh.kernel import (
    Child,
    EventKind,
    Intensity,
    KernelEvent,
    Mailbox,
    Service,
    SupervisionFailed,
    Supervisor,
    SystemClock,
    real_cause,
)
from chatmesh.presence import (
    Beacon,
    HealthResponder,
    Holdings,
    IdentityGuard,
    Roster,
    RosterKeeper,
    Vitals,
    WorkerHealthResponder,
)
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token, new_boot, token
from chatmesh.providers import Catalogue, Provider
from chatmesh.providers.demo import Demo
from chatmesh.relay import Batcher, Lane, Router
from chatmesh.telemetry import get_logger
from chatmesh.web import Server, ServerSettings
from chatmesh.web.described import openapi_route
from chatmesh.web.pages import page_routes
from chatmesh.web.probes import probe_routes
from chatmesh.workflow import Claims, Desk, Generations, Identity, Leases, StopListener, StopSweep, Turns

log = get_logger("app")

GIB = 1024**3
MENDING = 16_384
"""Channels that may wait for a look at the transcript; past it the pulse asks again."""

STOP_SECONDS = 5.0

SUBTREE_SECONDS = 30.0
"""For a subtree's other children, which stop one after the other, each in milliseconds as a rule."""


class Mesh:
    """One process: its tree, and the few parts that the command line shows."""

    def __init__(self, config: Config, *, workers: int = 1) -> None:
        """`workers`: so many of them in this process, each with an id of its own; for development."""
        self.config = config
        self._workers = workers
        self.id: Token = token(config.process_id, "id")
        self.boot = new_boot()
        self.embedded = _embedded(config) if config.nats.embedded else None
        self.broker = Broker(
            self._address,
            _stream_settings(config),
            ack_wait_seconds=config.worker.ack_wait_seconds,
            pulls="worker" in config.roles,
        )
        self.server: Server | None = None
        self.is_draining = False
        self._beacons: list[Beacon] = []
        self.tree = self._tree()

    @property
    def is_ready(self) -> bool:
        """Serving: connected, streams in place, not leaving."""
        return self.broker.is_ready and not self.is_draining

    @property
    def status(self) -> str:
        if self.is_draining:
            return "draining"
        return "healthy" if self.broker.is_ready else "degraded"

    def _address(self) -> Address:
        config = self.config.nats
        options: dict[str, Any] = {}
        if self.embedded is not None:
            return Address(
                (self.embedded.server.url,), self.id, options={"token": self.embedded.server.token}
            )
        if config.user is not None and config.password is not None:
            options |= {"user": config.user, "password": config.password.get_secret_value()}
        if config.token is not None:
            options["token"] = config.token.get_secret_value()
        if config.creds_file is not None:
            options["user_credentials"] = str(config.creds_file)
        if config.nkey_seed_file is not None:
            options["nkeys_seed"] = str(config.nkey_seed_file)
        if config.tls.is_set:
            options["tls"] = _tls_context(config.tls)
        return Address(
            config.servers,
            self.id,
            connect_seconds=config.connect_seconds,
            reconnect_wait_seconds=config.reconnect_wait_seconds,
            options=options,
        )

    # --- the tree --------------------------------------------------------------------------------------------------

    def _tree(self) -> Supervisor:
        children = []
        if self.embedded is not None:
            children.append(_child("nats-server", self.embedded))
        children.append(_nested("broker", self._broker, drain_seconds=SUBTREE_SECONDS))
        if "worker" in self.config.roles:
            for number in range(1, self._workers + 1):
                name = "worker" if number == 1 else f"worker-{number}"
                worker_id = self.id if number == 1 else token(f"{self.id}-{number}", "id")
                drain_seconds = self.config.worker.drain_seconds + SUBTREE_SECONDS
                children.append(_nested(name, partial(self._worker, worker_id), drain_seconds=drain_seconds))
        if self.config.serves_http and "pod" in self.config.roles:
            drain_seconds = self.config.http.shutdown_seconds + SUBTREE_SECONDS
            children.append(_nested("pod", self._pod, drain_seconds=drain_seconds))
        elif self.config.serves_http:
            children.append(_child("server", self._probes()))
        return _Root("root", children, on_drain=self._on_drain)

    def _on_drain(self) -> None:
        self.is_draining = True
        for beacon in self._beacons:
            beacon.tell()

    def _broker(self) -> list[Child]:
        # The one subtree that is not built anew: everybody holds references to its parts. If it gives up, so does the
        # process.
        return [_child(name, service) for name, service in self.broker.services]

    def _worker(self, worker_id: Token) -> list[Child]:
        config, broker = self.config, self.broker
        roster = Roster(config.heartbeat.interval_seconds)
        router = Router(
            broker.connection, broker.registry, lambda pod, boot: roster.is_dead(pod, boot, time.monotonic())
        )
        concurrency = config.worker.concurrency
        batcher = Batcher(
            Mailbox[Lane](2 * concurrency + 64, name="batcher"),
            broker.transcript,
            router,
            max_chunks=config.batch.max_chunks,
            flush_seconds=config.batch.flush_ms / 1000,
        )
        catalogue = _catalogue(config)
        identity = Identity(worker_id, self.boot)
        claims = Claims(identity, broker, holder_seconds=config.worker.holder_timeout_seconds)
        generations = Generations()
        turns = Turns(
            claims,
            broker,
            catalogue,
            batcher,
            router,
            generations,
            max_attempts=config.worker.max_attempts,
        )
        sweep = StopSweep(broker, generations)
        stops = StopListener(broker, generations, sweep, default_model=catalogue.default)
        leases = Leases(config.worker.ack_wait_seconds)
        desk = Desk(
            Mailbox[Delivery](2 * concurrency + 64, name="desk"),
            broker,
            turns,
            leases,
            concurrency=concurrency,
            max_parked=config.worker.max_parked,
            on_free=lambda: puller.kick(),  # noqa: PLW0108 - it is made below, and needs the desk
        )
        puller = Puller(
            broker.connection,
            broker.requests,
            stream=REQUESTS,
            consumer=CONSUMER,
            free_slots=lambda: desk.free_slots,
            on_delivery=desk.mailbox.send_nowait,
            max_slots=concurrency,
            on_refused=broker.streams.doubt,
        )

        def vitals() -> Vitals:
            return Vitals(self.status, len(generations))

        beacon = Beacon(
            broker.heartbeats,
            role="worker",
            id=worker_id,
            boot=self.boot,
            interval_seconds=config.heartbeat.interval_seconds,
            vitals=vitals,
            models=catalogue.names,
        )
        broker.connection.on_change(beacon.tell)
        self._beacons.append(beacon)
        health = WorkerHealthResponder(
            broker.connection, id=worker_id, boot=self.boot, vitals=vitals, holds=generations.holds
        )
        keeper = RosterKeeper(broker.connection, broker.heartbeats, roster, subjects.POD_HEARTBEATS)
        return [
            _once("identity", IdentityGuard(broker.requests, subjects.worker_health(worker_id), worker_id)),
            _child("roster", keeper),
            _child("router", router),
            _child("batcher", batcher),
            _child("leases", leases),
            _child("stop-sweep", sweep),
            _child("stops", stops),
            # Both outlive the desk's drain: one who leaves still answers, and is asked whether it does.
            _child("health", health),
            _child("beacon", beacon),
            _child("desk", desk, drain_seconds=config.worker.drain_seconds),
            _child("puller", puller),
        ]

    def _pod(self) -> list[Child]:
        config, broker = self.config, self.broker
        roster = Roster(config.heartbeat.interval_seconds)
        holdings = Holdings(broker.connection, broker.registry, pod_id=self.id, boot=self.boot)
        broker.streams.on_remade(holdings.tell_again)
        mending = Mailbox[Channel](MENDING, name="mender")
        hub_settings = HubSettings(
            max_connections=config.sse.max_connections,
            max_buffer_bytes=config.sse.max_buffer_bytes,
            keepalive_seconds=config.sse.keepalive_seconds,
            write_timeout_seconds=config.sse.write_timeout_seconds,
        )
        hub = Hub(broker.transcript, hub_settings, mending)
        holdings.on_told(hub.mend_all)
        streams = EventStreams(
            hub,
            broker.transcript,
            hold=holdings.hold,
            release=holdings.release,
            is_ready=lambda: self.is_ready,
        )

        def vitals() -> Vitals:
            return Vitals(self.status, len(hub.readers))

        beacon = Beacon(
            broker.heartbeats,
            role="pod",
            id=self.id,
            boot=self.boot,
            interval_seconds=config.heartbeat.interval_seconds,
            vitals=vitals,
        )
        broker.connection.on_change(beacon.tell)
        self._beacons.append(beacon)
        self.server = self._server(hub, streams, roster)
        keeper = RosterKeeper(broker.connection, broker.heartbeats, roster, subjects.WORKER_HEARTBEATS)
        return [
            _once("identity", IdentityGuard(broker.requests, subjects.pod_health(self.id), self.id)),
            _child("roster", keeper),
            _child("holdings", holdings),
            _child("mender", Mender(mending, broker.transcript)),
            _child("pulse", Pulse(hub, broker.connection)),
            _child("responses", ResponseInbox(broker.connection, hub, self.id)),
            _child("broadcasts", BroadcastInbox(broker.connection, hub)),
            _child("health", HealthResponder(broker.connection, id=self.id, boot=self.boot, vitals=vitals)),
            _child("beacon", beacon),
            _child("server", self.server, drain_seconds=config.http.shutdown_seconds + STOP_SECONDS),
        ]

    def _server(self, hub: Hub, streams: EventStreams, roster: Roster) -> Server:
        config, broker = self.config, self.broker
        limit = config.sessions.queue_limit
        stopping = Stopping(broker.queue, broker.transcript, queue_limit=limit)
        ingress = Ingress(
            Intake(broker.queue, broker.transcript, IntakeSettings(config.sessions.on_busy, limit)),
            History(broker.queue, broker.transcript, broker.sessions, queue_limit=limit),
            stopping,
            Erasing(broker.queue, broker.transcript, stopping, queue_limit=limit),
            IngressSettings(config.http.max_body_bytes, config.http.request_timeout_seconds),
            pod_id=self.id,
            default_model=config.default_model,
            inline=streams.inline,
            expect=hub.expect,
            models=lambda: roster.models(time.monotonic()),
            max_payload=lambda: broker.connection.max_payload,
            is_open=lambda: not self.is_draining,
        )
        routes = [
            *ingress.routes,
            *streams.routes,
            *probe_routes(lambda: self.is_ready, lambda: self.status),
            *page_routes(),
        ]
        routes.append(openapi_route(routes))
        return Server(self._server_settings(), routes, on_drain=hub.say_goodbye)

    def _probes(self) -> Service:
        """What a worker serves where it is told to serve HTTP: it has no sessions to show."""
        routes = probe_routes(lambda: self.is_ready, lambda: self.status)
        self.server = Server(self._server_settings(), routes, on_drain=lambda: None)
        return self.server

    def _server_settings(self) -> ServerSettings:
        config = self.config
        return ServerSettings(
            config.http.host,
            config.http.port,
            max_body_bytes=config.http.max_body_bytes,
            request_timeout_seconds=config.http.request_timeout_seconds,
            shutdown_seconds=config.http.shutdown_seconds,
        )


class _Root(Supervisor):
    """Says that the process is leaving before the first child hears of it."""

    def __init__(self, name: str, children: list[Child], *, on_drain: Any) -> None:
        super().__init__(name, children, intensity=Intensity(3, 60.0), clock=SystemClock(), observe=observe)
        self._on_drain = on_drain

    def drain(self) -> None:
        self._on_drain()
        super().drain()


def observe(event: KernelEvent) -> None:
    """What happens in the tree, as log lines."""
    name = f"kernel.{event.kind}"
    match event.kind:
        case EventKind.STARTED | EventKind.STOPPED:
            log.debug(name, path=event.path)
        case EventKind.SIGNAL:
            log.info(name, path=event.path, signal=event.signal_name)
        case EventKind.RESTARTING | EventKind.CANCELLED:
            log.warning(name, path=event.path, backoff_seconds=event.backoff_seconds)
        case _:
            _tell_failure(name, event)


def _tell_failure(name: str, event: KernelEvent) -> None:
    """What we raise on purpose says all there is, once, where it happened; anything else needs its traceback."""
    is_explained = event.error is not None and isinstance(real_cause(event.error), ChatmeshError)
    if is_explained and isinstance(event.error, SupervisionFailed):
        log.debug(name, path=event.path, error=repr(event.error))
    else:
        traceback = None if is_explained else event.error
        log.error(name, path=event.path, error=repr(event.error), exc_info=traceback)


def _child(name: str, service: Service, *, drain_seconds: float = STOP_SECONDS) -> Child:
    """A child whose service is one object for the process's life: others hold references to it, and it may run again
    after a crash."""
    return Child(name, lambda: service, drain_seconds=drain_seconds)


def _once(name: str, service: Service) -> Child:
    """A child that is done when it has done its work."""
    return Child(name, lambda: service, restart=False)


def _nested(name: str, build: Callable[[], list[Child]], *, drain_seconds: float) -> Child:
    """A subtree. One that gave up is built anew from nothing, while a child of it that crashed runs again as it is:
    others hold references to it."""
    return Child(
        name,
        lambda: Supervisor(name, build(), intensity=Intensity(5, 30.0), clock=SystemClock(), observe=observe),
        drain_seconds=drain_seconds,
    )


def _tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """Raises ConfigError where a file is missing or is none of what it should be."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"a certificate can't be used ({error})", where="nats.tls", mend="Expected readable PEM files."
        ) from error
    return context


def _embedded(config: Config) -> EmbeddedBroker:
    streams = config.streams
    needed = (
        streams.requests_max_bytes
        + streams.transcript_max_bytes
        + streams.dead_letters_max_bytes
        + streams.presence_max_bytes
        + streams.registry_max_bytes
    )
    return EmbeddedBroker(EmbeddedServer(config.nats.data_dir, max_store_bytes=needed + GIB))


def _stream_settings(config: Config) -> StreamSettings:
    streams = config.streams
    return StreamSettings(
        replicas=streams.replicas,
        requests_max_age_seconds=streams.requests_max_age_hours * 3600,
        transcript_max_age_seconds=streams.transcript_max_age_hours * 3600,
        requests_max_bytes=streams.requests_max_bytes,
        transcript_max_bytes=streams.transcript_max_bytes,
        registry_max_bytes=streams.registry_max_bytes,
        presence_max_bytes=streams.presence_max_bytes,
        dead_letters_max_bytes=streams.dead_letters_max_bytes,
    )


def _catalogue(config: Config) -> Catalogue:
    demo = Demo(config.demo.tokens_per_second)
    models: dict[str, Provider] = dict.fromkeys(config.served_models, demo)
    return Catalogue(models, config.default_model)
