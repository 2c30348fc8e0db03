"""How one model's server is asked: plain values, made by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatmesh.providers.base import Continuation


@dataclass(frozen=True, slots=True)
class Settings:
    """`name` is the model's in the configuration, for logs; `model` its name at the server, None for the one that was
    asked for. `concurrency` bounds the connections. The times: until there is a connection; from the request to the
    first piece of the answer; between two pieces; the whole answer with all its tries."""

    name: str
    base_url: str
    model: str | None
    concurrency: int
    api_key: str | None = field(default=None, repr=False)
    continuation: Continuation = Continuation.OVERLAP
    max_tokens: int | None = None
    api_version: str = ""
    connect_seconds: float = 5
    first_token_seconds: float = 120
    idle_seconds: float = 60
    total_seconds: float = 900
    retries: int = 2

    def upstream_name(self, asked: str) -> str:
        return self.model or asked
