"""Whether another distribution has put its files where ours are: PyPI's `chatmesh` is another project with our import name.

Two distributions of one package overwrite each other's files, in the order in which they were installed, and what then
runs is neither of them. So this stands outside that package and imports nothing of it.
"""

from __future__ import annotations

from importlib.metadata import Distribution, distributions

OURS = "chatmesh-server"
PACKAGE = "chatmesh"


def others() -> list[str]:
    """The other installed distributions that provide the package. Takes a few milliseconds: of most distributions it
    reads one short file."""
    return sorted({name for name in map(_name, filter(_provides_package, distributions())) if name != OURS})


def _provides_package(distribution: Distribution) -> bool:
    top_level = distribution.read_text("top_level.txt")
    if top_level is not None:
        return PACKAGE in top_level.split()
    # Newer build tools leave that file out.
    return f"\n{PACKAGE}/" in "\n" + (distribution.read_text("RECORD") or "")


def _name(distribution: Distribution) -> str:
    """As PEP 503 writes it, so that spellings compare equal."""
    name: str = distribution.metadata["Name"] or "(unnamed)"
    return name.replace("_", "-").replace(".", "-").lower()
