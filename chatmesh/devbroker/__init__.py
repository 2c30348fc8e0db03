"""The embedded broker of development: the real nats-server as a child process of ours, on loopback only.

In: a data directory. Out: a running JetStream server with a URL and a token. It does not speak NATS beyond reading
the server's greeting, and it does not restart anything: whoever supervises it calls `start()` again.
"""

from chatmesh.devbroker.executable import MINIMUM_VERSION, find_server
from chatmesh.devbroker.server import EmbeddedServer

__all__ = ["MINIMUM_VERSION", "EmbeddedServer", "find_server"]
