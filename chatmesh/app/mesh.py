"""One process as a tree of actors."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from chatmesh.app import auth, parts
from chatmesh.app.children import SUBTREE_SECONDS, Root, child, nested
from chatmesh.app.felling import feller
from chatmesh.app.notifier import Notifier
from chatmesh.app.pod import pod_tree
from chatmesh.app.process import Process
from chatmesh.app.tracing import FLUSH_SECONDS, Spans
from chatmesh.app.worker import worker_tree
from chatmesh.broker import Broker
from chatmesh.config import Config
from chatmesh.devbroker.service import EmbeddedBroker
from chatmesh.identity import KeyFile
from chatmesh.kernel import Child, Service, Supervisor
from chatmesh.protocol.tokens import Token, token
from chatmesh.web import Guard, Server
from chatmesh.web.probes import probe_routes
from chatmesh.web.server import nobody_to_tell


class Mesh:
    """One process: its tree, and the few parts that the command line shows."""

    def __init__(self, config: Config, *, workers: int = 1) -> None:
        """`workers`: so many of them in this process, each with an id of its own; for development."""
        self.config = config
        self.process = Process(config)
        self.server: Server | None = None
        self.notifier = Notifier.of(os.environ)
        self._feller = feller(config, workers=workers)
        self.tree: Supervisor = Root(self._children(workers), on_drain=self.process.drain)

    @property
    def id(self) -> Token:
        return self.process.id

    @property
    def broker(self) -> Broker:
        return self.process.broker

    @property
    def embedded(self) -> EmbeddedBroker | None:
        return self.process.embedded

    @property
    def is_ready(self) -> bool:
        """Serving: connected, streams in place, not leaving."""
        return self.process.is_ready

    def _children(self, workers: int) -> list[Child]:
        config = self.config
        children = []
        if self.notifier is not None:
            self.process.on_drain(self.notifier.stopping)
            children.append(child("systemd", self.notifier))
        if self.process.spans is not None:
            children.append(child("spans", Spans(self.process.spans), drain_seconds=2 * FLUSH_SECONDS))
        if self.embedded is not None:
            children.append(child("nats-server", self.embedded))
        children.append(nested("broker", self._broker, drain_seconds=SUBTREE_SECONDS))
        if "worker" in config.roles:
            for number in range(1, workers + 1):
                name = "worker" if number == 1 else f"worker-{number}"
                worker_id = self.id if number == 1 else token(f"{self.id}-{number}", "id")
                build = partial(worker_tree, self.process, worker_id)
                drain_seconds = config.worker.drain_seconds + SUBTREE_SECONDS
                if self._feller is not None:
                    children.append(self._feller.worker(build, drain_seconds=drain_seconds))
                else:
                    children.append(nested(name, build, drain_seconds=drain_seconds))
        if config.serves_http and "pod" in config.roles:
            http = config.http
            drain_seconds = http.drain_wait_seconds + http.shutdown_seconds + SUBTREE_SECONDS
            children.append(nested("pod", self._pod, drain_seconds=drain_seconds))
        elif config.serves_http:
            # A worker's metrics are guarded like a pod's.
            callers = None if auth.opens_metrics(config) else auth.callers(config)
            if isinstance(callers, KeyFile):
                children.append(child("keys", callers))
            most = config.limits.failed_auth_per_minute
            guard = auth.guard(self.broker, callers, failures_per_minute=most)
            children.append(child("server", self._probes(guard)))
        return children

    def _broker(self) -> list[Child]:
        # The one subtree that is not built anew: everybody holds references to its parts. If it gives up, so does the
        # process.
        return [child(name, service) for name, service in self.broker.services]

    def _pod(self) -> list[Child]:
        children, self.server = pod_tree(self.process, self._feller)
        return children

    def _probes(self, guard: Guard | None) -> Service:
        """What a worker serves where it is told to serve HTTP: it has no sessions to show."""
        routes = probe_routes(
            lambda: self.is_ready,
            lambda: self.process.status,
            open_metrics=auth.opens_metrics(self.config),
        )
        # No load balancer sends it messages, and the worker's own drain begins after it.
        settings = replace(parts.server_settings(self.config), drain_wait_seconds=0)
        self.server = Server(settings, routes, leave=nobody_to_tell, guard=guard)
        return self.server
