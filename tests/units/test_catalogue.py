"""Models by name, alias and pattern."""

from __future__ import annotations

import pytest

from chatmesh.errors import ProviderError
from chatmesh.protocol.model_names import fits, is_served
from chatmesh.providers import Catalogue, Model
from chatmesh.providers.demo import Demo


class Closing(Demo):
    """Counts how often it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


DEMO, EXACT, WIDE, NARROW, OTHER = (Closing() for _ in range(5))
CATALOGUE = Catalogue(
    [
        Model(("demo",), "demo", DEMO),
        Model(("gpt-4o", "best"), "openai", EXACT),
        Model(("gpt-*",), "openai", WIDE),
        Model(("gpt-4*", "o1"), "openai", NARROW),
        Model(("claude", "best", "gpt-4o"), "anthropic", OTHER),
    ],
    "demo",
)


@pytest.mark.parametrize(
    ("name", "ai_provider", "provider"),
    [
        ("gpt-4o", None, EXACT),
        ("best", None, EXACT),
        ("o1", None, NARROW),
        ("gpt-5", None, WIDE),
        ("gpt-4.1", None, NARROW),
        ("gpt-4", None, NARROW),
        ("gpt-", None, WIDE),
        ("best", "anthropic", OTHER),
        ("best", "openai", EXACT),
        ("gpt-4o", "anthropic", OTHER),
        ("gpt-5", "anthropic", WIDE),
        ("claude", "openai", OTHER),
        ("best", {"a": 1}, EXACT),
    ],
)
def test_the_name_decides_and_the_provider_picks_among_several(
    name: str, ai_provider: object, provider: Demo
) -> None:
    assert CATALOGUE.resolve(name, ai_provider) == [(name, provider)]


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_default_model_answers(name: str | None) -> None:
    assert CATALOGUE.resolve(name) == [("demo", DEMO)]


@pytest.mark.parametrize(
    "name", ["gpt", "gpt-*", "gpt-4*", "*", "gpt-ü", "gpt- 4", "gpt-4\n", "gpt-" + "9" * 1000]
)
def test_a_model_that_nobody_serves_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(
        ProviderError, match=r"known: best, claude, demo, gpt-\*, gpt-4\*, gpt-4o, o1"
    ) as caught:
        CATALOGUE.resolve(name)
    assert caught.value.code == "unknown_model"
    assert len(str(caught.value)) < 300
    assert not is_served(name, set(CATALOGUE.names)), "a pod decides alike"


def test_a_pod_knows_from_the_names_alone_what_is_served() -> None:
    known = set(CATALOGUE.names)
    assert all(is_served(name, known) for name in ("demo", "best", "gpt-4o", "gpt-5", "o1"))


def test_a_pattern_may_have_its_star_anywhere() -> None:
    assert fits("a-b", "*-b")
    assert fits("a-x-b", "a-*-b")
    assert not fits("a-b", "a-*-b"), "no character counts for both ends"


def test_names_are_sorted_so_that_heartbeats_are_alike() -> None:
    assert CATALOGUE.names == ("best", "claude", "demo", "gpt-*", "gpt-4*", "gpt-4o", "o1")


def test_a_catalogue_does_not_change_with_what_it_was_made_of() -> None:
    models = [Model(("demo",), "demo", DEMO)]
    catalogue = Catalogue(models, "demo")
    models.clear()
    assert catalogue.names == ("demo",)


async def test_each_provider_is_closed_once() -> None:
    shared, own = Closing(), Closing()
    await Catalogue(
        [Model(("a",), "x", shared), Model(("b",), "x", shared), Model(("c",), "y", own)], "a"
    ).aclose()
    assert (shared.closed, own.closed) == (1, 1)


def test_those_that_go_on_where_a_model_fails_come_behind_it_and_theirs_do_not() -> None:
    one, two, three = Closing(), Closing(), Closing()
    models = [
        Model(("one",), "openai", one, ("deux", "three")),
        Model(("two", "deux"), "anthropic", two, ("one",)),
        Model(("three",), "python", three),
    ]
    catalogue = Catalogue(models, "one")
    assert catalogue.resolve(None) == [("one", one), ("deux", two), ("three", three)]
    assert catalogue.resolve("two") == [("two", two), ("one", one)]
