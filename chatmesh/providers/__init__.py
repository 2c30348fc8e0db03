"""Who answers: a prompt comes in, deltas go out. Nothing here knows NATS, sessions' order or readers."""

from chatmesh.providers.base import Continuation, Delta, Message, Prompt, Provider, Resume, Usage
from chatmesh.providers.catalogue import Catalogue, Model

__all__ = [
    "Catalogue",
    "Continuation",
    "Delta",
    "Message",
    "Model",
    "Prompt",
    "Provider",
    "Resume",
    "Usage",
]
