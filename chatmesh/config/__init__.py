"""The configuration: one typed tree from a YAML file, the environment and flags; every problem reported at once.

Files, CHATMESH_SECTION__KEY and `--set section.key=value` come in, a frozen `Config` goes out. Nothing here connects,
listens or logs.
"""

from chatmesh.config.draft import Origin
from chatmesh.config.identity import ID_PATTERN, default_id
from chatmesh.config.load import Loaded, load
from chatmesh.config.problems import InvalidConfigError, Problem
from chatmesh.config.reference import json_schema, render_reference
from chatmesh.config.show import render_show
from chatmesh.config.tree import Config

__all__ = [
    "ID_PATTERN",
    "Config",
    "InvalidConfigError",
    "Loaded",
    "Origin",
    "Problem",
    "default_id",
    "json_schema",
    "load",
    "render_reference",
    "render_show",
]
