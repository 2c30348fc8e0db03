"""The Vercel AI SDK's chat: a door to the same sessions.

In: HTTP as `useChat` speaks it. Out: requests in the work queue, and answers as UI message streams.
"""

from chatmesh.ingress.vercel.routes import VercelChat

__all__ = ["VercelChat"]
