"""A message comes in: validate → identify → publish → answer; and what was said can be read back.

In: HTTP. Out: requests in the work queue, problem answers, history.
"""

from chatmesh.ingress.admission import Admission
from chatmesh.ingress.erasing import Erasing
from chatmesh.ingress.history import History
from chatmesh.ingress.in_flight import InFlight
from chatmesh.ingress.intake import Intake, IntakeSettings
from chatmesh.ingress.limits import Limits
from chatmesh.ingress.links import Links
from chatmesh.ingress.openai import ChatDoor
from chatmesh.ingress.reading import IngressSettings
from chatmesh.ingress.repeats import Repeats
from chatmesh.ingress.responses import Responses
from chatmesh.ingress.routes import Ingress
from chatmesh.ingress.stopping import Stopping
from chatmesh.ingress.vercel import VercelChat

__all__ = [
    "Admission",
    "ChatDoor",
    "Erasing",
    "History",
    "InFlight",
    "Ingress",
    "IngressSettings",
    "Intake",
    "IntakeSettings",
    "Limits",
    "Links",
    "Repeats",
    "Responses",
    "Stopping",
    "VercelChat",
]
