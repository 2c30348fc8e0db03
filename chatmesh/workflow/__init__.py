"""A request becomes an answer: pull, order, claim, provider, lane, ack.

In: deliveries of the work queue. Out: chunks into lanes of the relay, and an ack once the final record is stored.
"""

from chatmesh.workflow.claims import Claims, Identity
from chatmesh.workflow.desk import Desk
from chatmesh.workflow.leases import Leases
from chatmesh.workflow.running import Generations
from chatmesh.workflow.stops import StopListener, StopSweep
from chatmesh.workflow.turn import Turns

__all__ = ["Claims", "Desk", "Generations", "Identity", "Leases", "StopListener", "StopSweep", "Turns"]
