"""Models by name."""

from __future__ import annotations

import pytest

from chatmesh.errors import ProviderError
from chatmesh.providers import Catalogue
from chatmesh.providers.demo import Demo

DEMO, OTHER = Demo(), Demo()
CATALOGUE = Catalogue({"demo": DEMO, "count": OTHER}, "demo")


def test_a_name_picks_its_provider() -> None:
    assert CATALOGUE.resolve("count") == ("count", OTHER)


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_default_model_answers(name: str | None) -> None:
    assert CATALOGUE.resolve(name) == ("demo", DEMO)


def test_a_model_that_nobody_serves_is_refused_with_those_that_are() -> None:
    with pytest.raises(ProviderError, match="known: count, demo") as caught:
        CATALOGUE.resolve("gpt-9" * 1000)
    assert caught.value.code == "unknown_model"
    assert len(str(caught.value)) < 300


def test_names_are_sorted_so_that_heartbeats_are_alike() -> None:
    assert CATALOGUE.names == ("count", "demo")


def test_a_catalogue_does_not_change_with_what_it_was_made_of() -> None:
    models = {"demo": DEMO}
    catalogue = Catalogue(models, "demo")
    models.clear()
    assert catalogue.names == ("demo",)
