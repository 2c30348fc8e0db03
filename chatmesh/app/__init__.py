"""The composition root: Config → a supervised tree. The one room that knows every other.

Children stand in flow order: sinks start before sources, and sources stop before sinks. Every bound of a mailbox is
chosen here.

    root ─┬─ nats-server         (embedded mode)
          ├─ broker  ─┬─ connection ─ replies ─ publisher ─ streams
          ├─ worker  ─── see `worker`
          └─ pod     ─── see `pod`

Pod and worker meet only over NATS, in one process too.
"""

from chatmesh.app.mesh import Mesh

__all__ = ["Mesh"]
