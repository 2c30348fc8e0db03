"""Chunks reach readers: inbox, sessions ↔ streams, order, dedupe, gap repair, replay/live hand-over, slow readers.

In: batches from NATS, pages of the transcript. Out: server-sent events.
"""

from chatmesh.hub.feeder import Feeder
from chatmesh.hub.following import Follower
from chatmesh.hub.hub import Hub, HubSettings
from chatmesh.hub.inbox import BroadcastInbox, ResponseInbox
from chatmesh.hub.lookout import Lookout
from chatmesh.hub.mender import Mender
from chatmesh.hub.pulse import Pulse
from chatmesh.hub.several import SeveralStreams
from chatmesh.hub.streams import EventStreams

__all__ = [
    "BroadcastInbox",
    "EventStreams",
    "Feeder",
    "Follower",
    "Hub",
    "HubSettings",
    "Lookout",
    "Mender",
    "Pulse",
    "ResponseInbox",
    "SeveralStreams",
]
