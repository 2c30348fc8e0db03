"""A small real model in a process of its own, for development: llama.cpp's server with SmolLM2-135M, on the loopback."""

from chatmesh.devmodel.process import local_model
from chatmesh.devmodel.weights import INSTALL, NAME, weights

__all__ = ["INSTALL", "NAME", "local_model", "weights"]
