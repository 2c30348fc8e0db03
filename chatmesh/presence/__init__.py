"""Pods and workers know each other: heartbeats, health, the roster, and who holds which session.

In: what the process says of itself, what others say of themselves. Out: heartbeats, answers, a roster to ask.
"""

from chatmesh.presence.beacon import Beacon, Vitals
from chatmesh.presence.holdings import Holdings
from chatmesh.presence.identity import IdentityGuard
from chatmesh.presence.responder import HealthResponder, WorkerHealthResponder
from chatmesh.presence.roster import Roster
from chatmesh.presence.roster_keeper import RosterKeeper
from chatmesh.presence.watch import WorkerWatch

__all__ = [
    "Beacon",
    "HealthResponder",
    "Holdings",
    "IdentityGuard",
    "Roster",
    "RosterKeeper",
    "Vitals",
    "WorkerHealthResponder",
    "WorkerWatch",
]
