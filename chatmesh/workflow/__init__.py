"""A request becomes an answer: pull, order, claim, provider, lane, ack.

In: deliveries of the work queue. Out: chunks into lanes of the relay, and an ack once the final record is stored.
"""

from chatmesh.workflow.age import Age
from chatmesh.workflow.answers import Answers
from chatmesh.workflow.claims import Claims, Identity
from chatmesh.workflow.conversation import Bounds
from chatmesh.workflow.desk import HAND_OVER_SECONDS, Desk
from chatmesh.workflow.leases import Leases
from chatmesh.workflow.overdue import Overdue
from chatmesh.workflow.running import Generations
from chatmesh.workflow.stops import StopListener, StopSweep
from chatmesh.workflow.turn import Turns

__all__ = [
    "HAND_OVER_SECONDS",
    "Age",
    "Answers",
    "Bounds",
    "Claims",
    "Desk",
    "Generations",
    "Identity",
    "Leases",
    "Overdue",
    "StopListener",
    "StopSweep",
    "Turns",
]
