"""The chart, as Helm's own engine renders it: Kubernetes takes the manifests, and chatmesh the configuration in them.

It is installed in no cluster here."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from chatmesh.broker.streams import CONSUMER, REQUESTS
from chatmesh.cli.main import parser
from chatmesh.config import load
from chatmesh.config.tree import Config
from tests.support.broker import Broker
from tests.support.processes import Process
from tests.support.wheels import installed_wheels

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "chatmesh"
EXAMPLES = sorted((ROOT / "deploy" / "helm" / "examples").glob("*.yaml"))
TOOLS = Path(__file__).parent / "helm"

OPEN = {"pods": {"config": {"auth": {"allow_anonymous": True}}}}

engine = pytest.mark.slow
"""Loads all of Helm, 85 MB of it, and installs it where no earlier run has."""


def values_of(example: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(example.read_text())
    return found


def ask(values: dict[str, Any]) -> dict[str, Any]:
    packages = installed_wheels(TOOLS / "requirements.txt", "the Helm chart is")
    done = subprocess.run(
        [sys.executable, str(TOOLS / "render.py")],
        input=json.dumps({"chart": str(CHART), "values": values}),
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Rendered(NamedTuple):
    """A chart with values, by kind and name."""

    manifests: dict[tuple[str, str], dict[str, Any]]
    invalid: dict[tuple[str, str], str]
    notes: str
    lint: list[str]

    def deployment(self, role: str) -> dict[str, Any]:
        found: dict[str, Any] = self.manifests["Deployment", f"demo-chatmesh-{role}"]["spec"]
        return found

    def pod(self, role: str) -> dict[str, Any]:
        found: dict[str, Any] = self.deployment(role)["template"]["spec"]
        return found

    def config(self, role: str, folder: Path) -> Config:
        """As chatmesh's loader reads what the ConfigMap mounts, with the secrets mounted below `folder`."""
        text = self.manifests["ConfigMap", f"demo-chatmesh-{role}"]["data"]["chatmesh.yaml"]
        (container,) = self.pod(role)["containers"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        for path in re.findall(r"/etc/chatmesh/secrets/\S+", text):
            assert path.rpartition("/")[0] in mounted, f"{path} is in no mount of the {role}"
            secret = folder / path.lstrip("/")
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_text("0" * 64)
        file = folder / f"{role}.yaml"
        file.write_text(text.replace("/etc/chatmesh/secrets", f"{folder}/etc/chatmesh/secrets"))
        return load(file, environ={each["name"]: "x" for each in container["env"]}).config


def rendered(values: dict[str, Any]) -> Rendered:
    answer = ask(values)
    assert "error" not in answer, answer["error"]
    names = [(each["kind"], each["metadata"]["name"]) for each in answer["manifests"]]
    assert len(set(names)) == len(names)
    invalid = {name: why for name, why in zip(names, answer["invalid"], strict=True) if why is not None}
    return Rendered(
        dict(zip(names, answer["manifests"], strict=True)), invalid, answer["notes"], answer["lint"]
    )


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Rendered:
    return rendered(values_of(request.param))


@pytest.fixture(scope="module")
def production() -> Rendered:
    return rendered(values_of(ROOT / "deploy" / "helm" / "examples" / "production.yaml"))


def test_alert_rules_of_the_chart_are_those_of_prometheus() -> None:
    rules = ROOT / "deploy" / "prometheus" / "alerts.yaml"
    assert (CHART / "files" / "alerts.yaml").read_bytes() == rules.read_bytes()


def test_version_of_the_chart_is_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()


@engine
def test_kubernetes_takes_every_manifest(example: Rendered) -> None:
    assert example.lint == []
    others = {"ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule"}
    assert {name: why for name, why in example.invalid.items() if name[0] not in others} == {}
    assert set(example.invalid.values()) <= {"unknown"}


@engine
@pytest.mark.parametrize("role", ["pod", "worker"])
def test_chatmesh_takes_the_configuration(example: Rendered, role: str, tmp_path: Path) -> None:
    config = example.config(role, tmp_path)
    assert config.roles == (role,)
    assert config.serves_http
    assert config.http.host == "0.0.0.0"  # noqa: S104 - in the container's own network
    (container,) = example.pod(role)["containers"]
    assert container["ports"][0]["containerPort"] == config.http.port
    arguments = parser().parse_args(container["args"])
    assert str(arguments.config) == "/etc/chatmesh/config/chatmesh.yaml"


@engine
def test_processes_get_as_long_to_leave_as_they_may_take(example: Rendered, tmp_path: Path) -> None:
    pod, worker = (example.config(role, tmp_path) for role in ("pod", "worker"))
    grace = {role: example.pod(role)["terminationGracePeriodSeconds"] for role in ("pod", "worker")}
    assert grace["pod"] == pod.http.drain_wait_seconds + pod.http.shutdown_seconds + 5
    assert pod.http.drain_wait_seconds >= 5, "load balancers take as long to notice"
    assert grace["worker"] == worker.worker.drain_seconds + worker.http.shutdown_seconds + 5


@engine
@pytest.mark.parametrize("role", ["pod", "worker"])
def test_containers_are_not_root_and_write_nowhere(example: Rendered, role: str) -> None:
    spec = example.pod(role)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["tmp"]
    assert {"name": "tmp", "emptyDir": {}} in spec["volumes"]


@engine
def test_service_and_budgets_select_the_pods_that_they_are_for(example: Rendered) -> None:
    labels = {role: example.deployment(role)["template"]["metadata"]["labels"] for role in ("pod", "worker")}
    service = example.manifests["Service", "demo-chatmesh"]["spec"]["selector"]
    assert service.items() <= labels["pod"].items()
    assert not service.items() <= labels["worker"].items()
    for role in ("pod", "worker"):
        budget = example.manifests["PodDisruptionBudget", f"demo-chatmesh-{role}"]["spec"]
        assert budget["selector"]["matchLabels"].items() <= labels[role].items()


@engine
def test_scaler_looks_at_the_consumer_that_workers_pull_from(production: Rendered) -> None:
    scaled = production.manifests["ScaledObject", "demo-chatmesh-worker"]["spec"]
    (trigger,) = scaled["triggers"]
    assert scaled["scaleTargetRef"] == {"name": "demo-chatmesh-worker"}
    assert trigger["type"] == "nats-jetstream"
    assert (trigger["metadata"]["stream"], trigger["metadata"]["consumer"]) == (REQUESTS, CONSUMER)
    # KEDA asks from a namespace of its own.
    assert trigger["metadata"]["natsServerMonitoringEndpoint"] == "nats-headless.chat.svc.cluster.local:8222"
    assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes text only"
    assert "replicas" not in production.deployment("worker"), "the scaler's number would be undone"


@engine
def test_keys_of_models_reach_workers_only(production: Rendered, tmp_path: Path) -> None:
    assert "gpt" in production.config("worker", tmp_path).models
    assert "OPENAI_API_KEY" not in json.dumps(production.pod("pod"))
    assert "OPENAI_API_KEY" not in json.dumps(production.manifests["ConfigMap", "demo-chatmesh-pod"])


@engine
def test_changed_configuration_is_a_new_process(production: Rendered) -> None:
    other = rendered({**values_of(EXAMPLES[0]), "models": {"a": {"provider": "demo"}}})
    sums = [
        each.deployment("worker")["template"]["metadata"]["annotations"]["checksum/config"]
        for each in (production, other)
    ]
    assert sums[0] != sums[1]


@engine
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "pods.config.auth: nothing says who may call"),
        ({**OPEN, "config": {"auth": {"mode": "jwt"}}}, "Move it to pods.config.auth"),
        ({**OPEN, "worker": {"replicas": 3}}, "additional properties 'worker' not allowed"),
        ({**OPEN, "nats": {"servers": ["nats://user:secret@nats:4222"]}}, "does not match pattern"),
    ],
)
def test_bad_values_are_refused_with_what_to_do(values: dict[str, Any], why: str) -> None:
    assert why in ask(values)["error"]


@engine
def test_secret_of_the_broker_is_a_mounted_file(tmp_path: Path) -> None:
    credentials = {"secretName": "s", "key": "password", "as": "password_file"}
    chart = rendered(
        {**OPEN, "nats": {"servers": ["tls://nats:4222"], "user": "chatmesh", "credentials": credentials}}
    )
    config = chart.config("worker", tmp_path)
    assert config.nats.password is not None
    volumes = {each["name"]: each for each in chart.pod("worker")["volumes"]}
    assert volumes["secret-nats"]["secret"]["secretName"] == "s"


def test_examples_name_every_secret_that_they_want_first() -> None:
    """What the head of the file makes is what stands below it."""
    for path in EXAMPLES:
        text = path.read_text()
        made = {shlex.split(line)[5] for line in text.splitlines() if "kubectl create secret" in line}
        wanted = set(re.findall(r"(?:secretName|caSecretName|secretKeyRef: \{name): ([\w-]+)", text))
        assert made | {"chat-tls"} >= wanted, path.name


@engine
async def test_processes_that_are_started_as_the_chart_says_answer_their_probes_and_leave_in_time(
    broker: Broker, chatmesh: Callable[..., Process], tmp_path: Path
) -> None:
    """But for the broker's address, the ports and the paths, which are Kubernetes' here."""
    pods = {"config": {"auth": {"allow_anonymous": True}, "http": {"drain_wait_seconds": 1}}}
    chart = rendered({"pods": pods})
    for role in ("pod", "worker"):
        (container,) = chart.pod(role)["containers"]
        file = tmp_path / f"{role}.yaml"
        file.write_text(chart.manifests["ConfigMap", f"demo-chatmesh-{role}"]["data"]["chatmesh.yaml"])
        known = {
            "/etc/chatmesh/config/chatmesh.yaml": str(file),
            "$(POD_NAME)": f"demo-chatmesh-{role}-5b7d9c6f4-x2x9z",
        }
        here = ("--set", f"nats.servers={broker.url}", "--set", "http.port=0", "--set", "http.host=127.0.0.1")
        process = chatmesh(*[known.get(word, word) for word in container["args"]], *here)
        listening = await process.wait_for_line('"event": "web.listening"', stream="stderr")
        await process.wait_for_line('"event": "app.ready"', stream="stderr")
        async with httpx.AsyncClient(base_url=json.loads(listening.string)["url"]) as client:
            for probe in ("livenessProbe", "readinessProbe"):
                path = container.get(probe, container["livenessProbe"])["httpGet"]["path"]
                assert (await client.get(path)).status_code == 200
        process.signal(signal.SIGTERM)
        assert await process.wait(timeout=chart.pod(role)["terminationGracePeriodSeconds"]) == 0
