"""What operators run from outside, over a broker that is there already. Used by the command line and the
operator's page; prints nothing."""

from chatmesh.operate.invariants import Violation, check_session
from chatmesh.operate.session import StoredSession, read_session
from chatmesh.operate.streams import Action, Change, Part, apply, look
from chatmesh.operate.verification import Checked, CheckedMessage, Verdict, verify

__all__ = [
    "Action",
    "Change",
    "Checked",
    "CheckedMessage",
    "Part",
    "StoredSession",
    "Verdict",
    "Violation",
    "apply",
    "check_session",
    "look",
    "read_session",
    "verify",
]
