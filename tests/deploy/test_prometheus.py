"""What ships for Prometheus and Grafana asks for metrics that there are, and Prometheus takes all of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatmesh.telemetry.generate import declared
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "chatmesh.json"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and not os.environ.get("CI"), reason="needs promtool (Debian's package prometheus)"
)


def promtool(*arguments: str, text: bytes = b"") -> str:
    assert PROMTOOL is not None, "promtool is missing: Debian's package prometheus has it"
    done = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Every query that ships, with its place."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_every_query_asks_for_metrics_and_labels_that_are_declared() -> None:
    known = {name: set(labels) for name, _, labels, _ in declared()}
    asked = list(queries())
    assert len(asked) > 30
    for place, query in asked:
        for name in re.findall(r"chatmesh_[a-z_]+", query):
            bare = re.sub("_(bucket|count|sum)$", "", name)
            assert bare in known, f"{place}: {name}"
            for label in re.findall(rf"{name}\{{(\w+)", query):
                assert label in known[bare], f"{place}: {label}"


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert {"summary", "description"} <= set(rule["annotations"])


@needs_promtool
def test_prometheus_takes_the_rules_and_the_queries() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yaml"))


@needs_promtool
def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"q{number}", "expr": query} for number, (_, query) in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


@needs_promtool
async def test_what_a_mesh_shows_is_well_formed_and_has_no_id(broker: Broker) -> None:
    async with running(broker.url, id="some-id") as mesh, client_of(mesh) as client:
        async with events(client, "some-session") as stream:
            await post(client, "some-session", "one two three", message_id="some-message", model="echo")
            await stream.read_finals()
        text = (await client.get("/metrics")).text
    promtool("check", "metrics", text=text.encode())
    assert not re.search("some-(id|session|message)", text)
    for name in ("first_token_seconds", "chunk_gap_seconds"):
        (count,) = re.findall(rf'chatmesh_{name}_count\{{model="echo"\}} (\S+)', text)
        assert float(count) >= 1
    assert "chatmesh_http_connections " in text
