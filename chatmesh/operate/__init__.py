"""What operators run from outside, over a broker that is there already. Used by the command line only; prints nothing."""

from chatmesh.operate.streams import Action, Change, Part, apply, look

__all__ = ["Action", "Change", "Part", "apply", "look"]
