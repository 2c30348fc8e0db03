"""A request becomes an answer: pull, order, claim, provider, lane, ack.

In: deliveries of the work queue. Out: chunks into lanes of the relay, and an ack once the final record is stored.
"""

from chatmesh.workflow.desk import Desk
from chatmesh.workflow.leases import Leases
from chatmesh.workflow.turn import Turns, TurnSettings

__all__ = ["Desk", "Leases", "TurnSettings", "Turns"]
