"""chatmesh: AI chat over NATS JetStream.

An accepted message is durable; its answer reaches every reader once, in order. The package is laid out as the way a
message takes: ingress → JetStream → workflow → providers → relay → NATS → hub → reader. `docs/architecture.md` walks it.
"""

__version__ = "0.1.0"
