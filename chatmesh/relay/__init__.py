"""Chunks leave the worker: batched, stored, and only then sent to the pods that hold the session.

In: encoded chunks of one generation. Out: records in the transcript, batches at the pods.
"""

from chatmesh.relay.batcher import Batcher
from chatmesh.relay.lane import Lane
from chatmesh.relay.router import Router

__all__ = ["Batcher", "Lane", "Router"]
