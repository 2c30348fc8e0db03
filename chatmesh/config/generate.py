"""Writes config/reference.yaml and config/chatmesh.schema.json anew: `python -m chatmesh.config.generate [DIRECTORY]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from chatmesh.config.reference import SCHEMA_FILE, json_schema, render_reference


def generated() -> dict[str, str]:
    """Give the generated files: name → content."""
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {"reference.yaml": render_reference(), SCHEMA_FILE: schema}


def main(arguments: list[str]) -> int:
    """Write the files into the directory given, `config` without one, which is right at the root of the project."""
    directory = Path(arguments[0] if arguments else "config")
    for name, content in generated().items():
        (directory / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
