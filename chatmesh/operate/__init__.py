"""What operators run from outside, over a broker that is there already. Used by the command line and the
operator's page; prints nothing."""

from chatmesh.operate.streams import Action, Change, Part, apply, look
from chatmesh.operate.verification import Checked, CheckedMessage, Verdict, verify

__all__ = ["Action", "Change", "Checked", "CheckedMessage", "Part", "Verdict", "apply", "look", "verify"]
