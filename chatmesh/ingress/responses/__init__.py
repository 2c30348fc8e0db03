"""OpenAI's responses: a door to the same sessions.

In: HTTP as OpenAI's SDKs speak it. Out: requests in the work queue, and answers as responses.
"""

from chatmesh.ingress.responses.routes import Responses

__all__ = ["Responses"]
