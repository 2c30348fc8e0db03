"""The pod's subtree.

identity ─ roster ─ holdings ─ mender ─ pulse ─ feeder ─ lookout ─ responses ─ broadcasts ─ health ─ beacon ─ console ─
keys (where there is a file of them) ─ server
"""

from __future__ import annotations

import time
from functools import partial

from chatmesh import identity
from chatmesh.app import auth, parts
from chatmesh.app.children import STOP_SECONDS, child, once
from chatmesh.app.felling import Feller
from chatmesh.app.process import Process
from chatmesh.broker import Backlog
from chatmesh.console import Console, Watch
from chatmesh.console.watch import Look, Readers, WatchSettings
from chatmesh.hub import (
    BroadcastInbox,
    EventStreams,
    Feeder,
    Follower,
    Hub,
    HubSettings,
    Lookout,
    Mender,
    Pulse,
    ResponseInbox,
    SeveralStreams,
)
from chatmesh.hub.channel import Channel
from chatmesh.hub.deliveries import Deliveries
from chatmesh.hub.erased import Erased
from chatmesh.hub.leaving import leave
from chatmesh.ingress import (
    Admission,
    ChatDoor,
    Erasing,
    History,
    InFlight,
    Ingress,
    IngressSettings,
    Intake,
    IntakeSettings,
    Limits,
    Links,
    Repeats,
    Responses,
    Stopping,
    VercelChat,
)
from chatmesh.kernel import Child, Mailbox
from chatmesh.presence import Beacon, HealthResponder, Holdings, IdentityGuard, Roster, RosterKeeper, Vitals
from chatmesh.protocol import subjects
from chatmesh.web import Guard, Server
from chatmesh.web.described import openapi_route
from chatmesh.web.pages import page_routes
from chatmesh.web.probes import probe_routes

MENDING = 16_384
"""Channels that may wait for a look at the transcript; past it the pulse asks again."""


def pod_tree(process: Process, feller: Feller | None = None) -> tuple[list[Child], Server]:
    """The children of the pod, and the one of them that listens. `feller`: the worker beside it may be killed from the page."""
    config, broker = process.config, process.broker
    http = config.http
    roster = Roster(config.heartbeat.interval_seconds)
    holdings = Holdings(broker.connection, broker.registry, pod_id=process.id, boot=process.boot)
    broker.streams.on_remade(holdings.tell_again)
    mending = Mailbox[Channel](MENDING, name="mender")
    hub_settings = HubSettings(
        max_connections=config.sse.max_connections,
        max_buffer_bytes=config.sse.max_buffer_bytes,
        max_readers_per_session=config.limits.readers_per_session,
        keepalive_seconds=config.sse.keepalive_seconds,
    )
    hub = Hub(broker.transcript, hub_settings, mending, Deliveries(process.tracing))
    holdings.on_told(hub.mend_all, late=hub.look)
    follower = Follower(
        hub,
        broker.transcript,
        broker.ownership,
        Erased(broker.queue, broker.transcript),
        hold=holdings.hold,
        release=holdings.release,
    )
    feeder = Feeder(follower)
    streams = EventStreams(
        hub,
        broker.transcript,
        broker.ownership,
        follower,
        feeder,
        is_ready=lambda: process.is_ready,
    )

    def vitals() -> Vitals:
        return Vitals(process.status, hub.connections, broker.connection.subscriptions)

    beacon = Beacon(
        broker.heartbeats,
        role="pod",
        id=process.id,
        boot=process.boot,
        interval_seconds=config.heartbeat.interval_seconds,
        vitals=vitals,
    )
    process.announce(beacon)
    callers = auth.callers(config)
    links = auth.links(config)
    guard = auth.guard(
        broker,
        callers,
        links,
        parts.origins(config),
        failures_per_minute=config.limits.failed_auth_per_minute,
    )
    watch = _watch(process, hub)
    several = SeveralStreams(hub, streams, feeder)
    server = _server(process, hub, streams, several, roster, guard, links, feller, watch)
    keeper = RosterKeeper(broker.connection, broker.heartbeats, roster, subjects.WORKER_HEARTBEATS)
    children = [
        once("identity", IdentityGuard(broker.peers, subjects.pod_health(process.id), process.id)),
        child("roster", keeper),
        child("holdings", holdings),
        child("mender", Mender(mending, broker.transcript, hub.deliveries)),
        child("pulse", Pulse(hub, broker.connection)),
        child("feeder", feeder),
        child("lookout", Lookout(hub, broker.transcript)),
        child("responses", ResponseInbox(broker.connection, hub, broker.vault, process.id)),
        child("broadcasts", BroadcastInbox(broker.connection, hub, broker.vault)),
        child("health", HealthResponder(broker.connection, id=process.id, boot=process.boot, vitals=vitals)),
        child("beacon", beacon),
        child("console", watch),
        child("server", server, drain_seconds=http.drain_wait_seconds + http.shutdown_seconds + STOP_SECONDS),
    ]
    if isinstance(callers, identity.KeyFile):
        known = callers.knows
        callers.on_change(lambda: hub.recheck(known))
        callers.on_change(lambda: watch.recheck(known))
        # Before the server, which is the last one: it asks.
        children.insert(-1, child("keys", callers))
    return children, server


def _server(
    process: Process,
    hub: Hub,
    streams: EventStreams,
    several: SeveralStreams,
    roster: Roster,
    guard: Guard | None,
    links: identity.Links | None,
    feller: Feller | None,
    watch: Watch,
) -> Server:
    config, broker = process.config, process.broker
    limit = config.sessions.queue_limit
    stopping = Stopping(broker.queue, broker.transcript, queue_limit=limit)
    admission = Admission(
        Intake(
            broker.queue,
            broker.transcript,
            IntakeSettings(config.sessions.on_busy, limit),
            full=lambda: broker.storage.full,
            seems_new=hub.seems_new,
        ),
        stopping,
        broker.ownership,
        Limits(parts.limit_settings(config), InFlight(Backlog(broker.api), broker.cards)),
        pod_id=process.id,
        default_model=config.default_model,
        listen=streams.listen,
        expect=hub.expect,
        models=lambda: roster.models(time.monotonic()),
        max_payload=lambda: broker.connection.max_payload,
        is_open=lambda: not process.is_draining,
        is_connected=lambda: broker.connection.is_connected,
        tracing=process.tracing,
    )
    history = History(broker.queue, broker.transcript, broker.sessions, queue_limit=limit)
    erasing = Erasing(broker.queue, broker.transcript, stopping, broker.ownership, queue_limit=limit)
    settings = IngressSettings(config.http.max_body_bytes, config.http.request_timeout_seconds)
    ingress = Ingress(admission, history, stopping, erasing, settings, inline=streams.inline)
    repeats = Repeats(admission, broker.retries)
    responses = Responses(
        admission,
        history,
        stopping,
        repeats,
        broker.ownership,
        settings,
        default_model=config.default_model,
        project=streams.project_anew,
        collect=streams.collect,
    )
    door = ChatDoor(
        admission,
        stopping,
        repeats,
        settings,
        project=streams.project,
        collect=streams.collect,
        cancels=config.openai.cancel_on_disconnect,
    )
    chat = VercelChat(admission, history, stopping, broker.ownership, settings, project=streams.project)
    routes = [
        *ingress.routes,
        *door.routes,
        *responses.routes,
        *chat.routes,
        *Links(broker.ownership, settings, links).routes,
        *streams.routes,
        *several.routes,
        *Console(broker, watch, interval_seconds=config.heartbeat.interval_seconds).routes,
        *probe_routes(
            lambda: process.is_ready, lambda: process.status, open_metrics=auth.opens_metrics(config)
        ),
        *page_routes(is_development=config.nats.embedded, fell=None if feller is None else feller.fell),
    ]
    routes.append(openapi_route(routes))
    # Half of the time is for saying it, the other for those who take it slowly.
    say_goodbye = partial(_leave, hub, watch, config.http.shutdown_seconds / 2)
    return Server(parts.server_settings(config), routes, leave=say_goodbye, guard=guard)


async def _leave(hub: Hub, watch: Watch, seconds: float) -> None:
    watch.send_away()
    await leave(hub, seconds)


def _watch(process: Process, hub: Hub) -> Watch:
    settings = WatchSettings(process.id, process.config.heartbeat.interval_seconds)

    def readers() -> Readers:
        waiting = [reader.sink.buffered for reader in hub.readers]
        behind = sum(not reader.is_live for reader in hub.readers)
        return Readers(len(waiting), behind, max(waiting, default=0))

    return Watch(lambda: Look(process.broker, settings, readers))
