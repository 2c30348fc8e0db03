"""Models by name: which provider answers for which."""

from __future__ import annotations

from collections.abc import Mapping

from chatmesh.errors import ProviderError
from chatmesh.providers.base import Provider


class Catalogue:
    """Immutable; made once by the composition root."""

    def __init__(self, models: Mapping[str, Provider], default: str) -> None:
        self._models = dict(models)
        self.default = default

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._models))

    def resolve(self, name: str | None) -> tuple[str, Provider]:
        """The model's name (the default one for None) and its provider; ProviderError `unknown_model` otherwise."""
        model = name or self.default
        provider = self._models.get(model)
        if provider is None:
            raise ProviderError(
                f"no model named {model!r:.80} is served here; known: {', '.join(self.names)}",
                code="unknown_model",
            )
        return model, provider
