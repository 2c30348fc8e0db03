"""The operator's page `/ops`: the mesh as a living picture, over HTTP.

In: what `operate` reads from the broker, and this process's own metrics. Out: a page, JSON, and one event stream for everybody
who looks: the mesh is looked at once for all of them, and only while somebody does. What was said in a session is shown by the
replay alone, and there only to whom the session is readable.
"""

from chatmesh.console.routes import Console
from chatmesh.console.watch import Watch

__all__ = ["Console", "Watch"]
