"""What operators run from outside, over a broker that is there already. Used by the command line only; prints nothing."""

from chatmesh.operate.invariants import Violation, check_session
from chatmesh.operate.session import StoredSession, read_session
from chatmesh.operate.streams import Action, Change, Part, apply, look

__all__ = [
    "Action",
    "Change",
    "Part",
    "StoredSession",
    "Violation",
    "apply",
    "check_session",
    "look",
    "read_session",
]
