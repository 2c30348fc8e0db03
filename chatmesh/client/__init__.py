"""Somebody else's side of the wire: a program that knows the mesh by its HTTP only.

In: URLs of pods, and what to say. Out: events, each once and in order over any number of connections, and what became of
a message that was sent. Nothing of NATS, and nothing that any other client could not know.
"""

from chatmesh.client.answer import Answer, BegunAnew, Called, Piece, Said, Thought
from chatmesh.client.client import Client
from chatmesh.client.events import Event, EventParser
from chatmesh.client.outcome import Fate, Sent
from chatmesh.client.reader import OnLink, Reader

__all__ = [
    "Answer",
    "BegunAnew",
    "Called",
    "Client",
    "Event",
    "EventParser",
    "Fate",
    "OnLink",
    "Piece",
    "Reader",
    "Said",
    "Sent",
    "Thought",
]
