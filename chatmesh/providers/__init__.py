"""Who answers: a prompt comes in, deltas go out. Nothing here knows NATS, sessions' order or readers."""

from chatmesh.providers.base import Continuation, Delta, Prompt, Provider, Resume
from chatmesh.providers.catalogue import Catalogue

__all__ = ["Catalogue", "Continuation", "Delta", "Prompt", "Provider", "Resume"]
