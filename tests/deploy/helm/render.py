"""Helm's own engine over a chart, and Kubernetes' schemas over what comes out. stdin: {"chart", "values"}; stdout: JSON.

A program of its own: the engine is a library in Go, which lives in its process until the end.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

import yaml

helm: Any = import_module("helm_python")
kubernetes: Any = import_module("kubernetes_validate")

VERSION = "1.34"


def invalid(manifest: dict[str, Any]) -> str | None:
    """What Kubernetes would refuse; "unknown" for a kind that is not its own."""
    try:
        kubernetes.validate(manifest, VERSION, strict=True)
    except kubernetes.SchemaNotFoundError:
        return "unknown"
    except kubernetes.ValidationError as error:
        return str(error.message)
    return None


def rendered(path: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        with helm.Chart.load(path) as chart:
            texts = chart.render(values, name="demo", namespace="chat")
    except helm.HelmError as error:
        return {"error": str(error)}
    files = {name.rpartition("/")[2]: text for name, text in texts.items()}
    manifests = [
        each
        for name, text in files.items()
        if name.endswith(".yaml")
        for each in yaml.safe_load_all(text)
        if each
    ]
    return {
        "manifests": manifests,
        "invalid": [invalid(each) for each in manifests],
        "notes": files["NOTES.txt"],
        "lint": helm.lint(path, values)["errors"],
    }


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump(rendered(asked["chart"], asked["values"]), sys.stdout)
