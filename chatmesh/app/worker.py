"""The worker's subtree.

identity ─ models ─ pods ─ workers ─ router ─ batcher ─ leases ─ stop-sweep ─ stops ─ health ─ beacon ─ desk ─ watch ─
overdue ─ puller
"""

from __future__ import annotations

import time

from chatmesh.app import parts
from chatmesh.app.children import child, once
from chatmesh.app.models import Models
from chatmesh.app.process import Process
from chatmesh.broker import CONSUMER, REQUESTS, Delivery, Puller
from chatmesh.kernel import Child, Mailbox
from chatmesh.presence import (
    Beacon,
    IdentityGuard,
    Roster,
    RosterKeeper,
    Vitals,
    WorkerHealthResponder,
    WorkerWatch,
)
from chatmesh.protocol import subjects
from chatmesh.protocol.tokens import Token
from chatmesh.relay import Batcher, Lane, Router
from chatmesh.telemetry import get_logger
from chatmesh.workflow import (
    HAND_OVER_SECONDS,
    Age,
    Answers,
    Bounds,
    Claims,
    Desk,
    Generations,
    Identity,
    Leases,
    Overdue,
    StopListener,
    StopSweep,
    Turns,
)

log = get_logger("app")


def worker_tree(process: Process, worker_id: Token) -> list[Child]:
    """The children of one worker. `worker_id`: a process may have several, in development."""
    config, broker = process.config, process.broker
    if not config.worker.fenced:
        log.warning("app.unfenced", worker_id=worker_id)
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
    catalogue = parts.catalogue(config)
    identity = Identity(worker_id, process.boot)
    claims = Claims(identity, broker, holder_seconds=config.worker.holder_timeout_seconds)
    generations = Generations()
    age = Age(config.streams.requests_max_age_hours * 3600)
    sweep = StopSweep(broker, generations)
    answers = Answers(
        claims,
        broker,
        catalogue,
        batcher,
        generations,
        sweep,
        age,
        Bounds(config.sessions.history_turns, config.sessions.history_tokens),
        max_attempts=config.worker.max_attempts,
        tracing=process.tracing,
    )
    turns = Turns(claims, broker, answers, router, generations, sweep, age, process.tracing)
    stops = StopListener(broker, generations, sweep, default_model=catalogue.default)
    leases = Leases(config.worker.ack_wait_seconds, broker.lease_book, identity)
    overdue = Overdue(broker, age, on_found=lambda: puller.kick())  # noqa: PLW0108 - it is made below
    desk = Desk(
        Mailbox[Delivery](2 * concurrency + 64, name="desk"),
        broker,
        turns,
        leases,
        concurrency=concurrency,
        max_parked=config.worker.max_parked,
        drain_seconds=config.worker.drain_seconds,
        on_free=lambda: puller.kick(),  # noqa: PLW0108 - it is made below, and needs the desk
        on_deadline=generations.leave,
        overdue=overdue,
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
        return Vitals(process.status, len(generations), broker.connection.subscriptions)

    beacon = Beacon(
        broker.heartbeats,
        role="worker",
        id=worker_id,
        boot=process.boot,
        interval_seconds=config.heartbeat.interval_seconds,
        vitals=vitals,
        models=catalogue.names,
    )
    process.announce(beacon)
    health = WorkerHealthResponder(
        broker.connection, id=worker_id, boot=process.boot, vitals=vitals, holds=generations.holds
    )
    pods = RosterKeeper(broker.connection, broker.heartbeats, roster, subjects.POD_HEARTBEATS)
    workers = RosterKeeper(broker.connection, broker.heartbeats, roster, subjects.WORKER_HEARTBEATS)
    watch = WorkerWatch(broker.connection, broker.peers, broker.lease_book, roster, worker_id)
    return [
        once("identity", IdentityGuard(broker.peers, subjects.worker_health(worker_id), worker_id)),
        child("models", Models(catalogue)),
        child("pods", pods),
        child("workers", workers),
        child("router", router),
        child("batcher", batcher),
        child("leases", leases),
        child("stop-sweep", sweep),
        child("stops", stops),
        # Both outlive the desk's drain: one who leaves still answers, and is asked whether it does.
        child("health", health),
        child("beacon", beacon),
        child("desk", desk, drain_seconds=config.worker.drain_seconds + HAND_OVER_SECONDS),
        child("watch", watch),
        child("overdue", overdue),
        child("puller", puller),
    ]
