"""Models by name: which provider answers for which."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from chatmesh.errors import ProviderError
from chatmesh.protocol.model_names import is_pattern, matching
from chatmesh.protocol.spend import Price
from chatmesh.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Model:
    """`names`: its own, then its aliases; each may be a pattern. `kind` is the provider's name, such as "openai".
    `fallbacks`: the names of those that go on where it fails. `price`: None where nobody has given one."""

    names: tuple[str, ...]
    kind: str
    provider: Provider
    fallbacks: tuple[str, ...] = ()
    price: Price | None = None


class Catalogue:
    """Immutable; made once by the composition root, which closes it in the end."""

    def __init__(self, models: Sequence[Model], default: str) -> None:
        self._models = tuple(models)
        self.default = default

    @property
    def names(self) -> tuple[str, ...]:
        """Names, aliases and patterns, as heartbeats tell them."""
        return tuple(sorted({name for model in self._models for name in model.names}))

    def resolve(self, name: str | None, ai_provider: object = None) -> list[tuple[str, Provider]]:
        """The name asked for (the default one for None) and who answers for it, then those that go on where that fails."""
        asked, model = self._find(name, ai_provider)
        others = [self._find(fallback, None) for fallback in model.fallbacks]
        return [(asked, model.provider), *((other, found.provider) for other, found in others)]

    def price(self, name: str) -> Price | None:
        """Of a model that was asked under that name."""
        model = self._known(name)
        return model.price if model is not None else None

    def configured(self, name: str) -> str:
        """Its name in the configuration; `other` for one that is not served here any more."""
        model = self._known(name)
        return model.names[0] if model is not None else "other"

    def _known(self, name: str) -> Model | None:
        with suppress(ProviderError):
            return self._find(name, None)[1]
        return None

    def _find(self, name: str | None, ai_provider: object) -> tuple[str, Model]:
        """A model of exactly that name or alias, else of the longest pattern that fits. Of several, one of `ai_provider`,
        else the first in the configuration. Raises ProviderError `unknown_model` where there is none."""
        asked = name or self.default
        found = [model for model in self._models if not is_pattern(asked) and asked in model.names]
        if not found and (pattern := matching(asked, self.names)) is not None:
            found = [model for model in self._models if pattern in model.names]
        if not found:
            raise ProviderError(
                f"no model named {asked!r:.80} is served here; known: {', '.join(self.names)}",
                code="unknown_model",
            )
        return asked, next((model for model in found if model.kind == ai_provider), found[0])

    async def aclose(self) -> None:
        """Closes every provider's connections, each once: several models may have one."""
        for provider in {id(model.provider): model.provider for model in self._models}.values():
            await provider.aclose()
