"""The door for OpenAI's clients: a chat completion becomes a message of a session, its answer a projection.

In: requests of unmodified SDKs and of Open WebUI. Out: the same as from the native routes, in OpenAI's words.
"""

from chatmesh.ingress.openai.routes import ChatDoor

__all__ = ["ChatDoor"]
