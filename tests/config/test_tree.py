"""The tree: the defaults that are promised, and that nothing in it changes."""

from __future__ import annotations

import os
import re

import pytest
import yaml
from pydantic import ValidationError

from chatmesh.config import ID_PATTERN, Config, default_id
from chatmesh.config.identity import clean_host
from chatmesh.errors import ConfigError, Exit
from tests.config.support import config_of, flag_problem

PROMISED = """
roles: [pod, worker]
id: null
nats:
  servers: [nats://127.0.0.1:4222]
  embedded: false
  data_dir: .chatmesh
  user: null
  password: null
  password_file: null
  token: null
  token_file: null
  creds_file: null
  nkey_seed_file: null
  tls: {ca_file: null, cert_file: null, key_file: null, handshake_first: false}
  allow_cleartext: false
  jetstream_api: $JS.API
  connect_seconds: 5
  max_reconnects: -1
  reconnect_wait_seconds: 2
streams:
  replicas: 1
  partitions: 1
  requests_max_age_hours: 24
  transcript_max_age_hours: 168
  requests_max_bytes: 268435456
  transcript_max_bytes: 2147483648
  sessions_max_bytes: 268435456
  dead_letters_max_bytes: 67108864
  presence_max_bytes: 16777216
  registry_max_bytes: 67108864
http:
  {enabled: null, host: 127.0.0.1, port: 8080, share_port: false, own_port: null, max_body_bytes: 1048576, allowed_origins: [], allowed_hosts: null, request_timeout_seconds: 30, drain_wait_seconds: 0, shutdown_seconds: 10}
auth:
  mode: none
  allow_anonymous: false
  keys_file: null
  secret: null
  secret_file: null
  open_metrics: null
  jwt:
    {algorithms: [RS256], issuer: null, audience: null, secret: null, secret_file: null, public_key_file: null, jwks_url: null, jwks_refresh_seconds: 3600, tenant_claim: tenant, tenant: null, scope_claim: scope, leeway_seconds: 10}
sealing: {key_ring: null, accept_clear: false}
sse: {keepalive_seconds: 15, max_buffer_bytes: 262144, max_connections: 10000, write_timeout_seconds: 30}
limits:
  {connections_per_address: null, failed_auth_per_minute: null, readers_per_session: null, history_messages: 10000, user_messages_per_minute: null, tenant_messages_per_minute: null, user_answers: null, tenant_answers: null, busy_answers: null}
sessions: {on_busy: queue, queue_limit: 100, history_turns: 50, history_tokens: 32000}
worker:
  {concurrency: 64, ack_wait_seconds: 3, max_attempts: 5, drain_seconds: 30, max_parked: 1024, holder_timeout_seconds: 0.5, fenced: true}
batch: {flush_ms: 50, max_chunks: 100}
heartbeat: {interval_seconds: 5}
models: {demo: {provider: demo}}
default_model: demo
demo: {enabled: true, tokens_per_second: 0}
openai: {cancel_on_disconnect: false}
log: {level: info, format: auto}
tracing: {endpoint: null, service_name: chatmesh, sample_ratio: 1}
"""


def test_the_defaults_are_the_promised_ones() -> None:
    assert Config().model_dump(mode="json") == yaml.safe_load(PROMISED)


def test_nothing_in_the_tree_changes() -> None:
    config = Config()
    with pytest.raises(ValidationError):
        config.http.port = 1
    with pytest.raises(TypeError):
        config.models["x"] = config.models["demo"]  # type: ignore[index]
    assert isinstance(config.nats.servers, tuple)


def test_a_worker_serves_no_http_unless_told() -> None:
    assert Config(roles=("pod",)).serves_http
    assert Config().serves_http
    assert not Config(roles=("worker",)).serves_http
    assert config_of("roles=worker", "http.enabled=true").serves_http
    assert not config_of("http.enabled=false").serves_http


def test_the_built_in_models_are_there_beside_the_configured_ones() -> None:
    assert set(config_of("models={x: {provider: demo}}").served_models) == {"demo", "echo", "count", "x"}


def test_the_built_in_models_go_when_the_demo_is_off() -> None:
    config = config_of("demo.enabled=false")
    assert not config.served_models


def test_a_model_of_ones_own_on_the_switched_off_demo_is_a_problem() -> None:
    problem = flag_problem("demo.enabled=false", "models.x.provider=demo")
    assert (problem.path, problem.origin) == ("models.x.provider", "--set models.x.provider=demo")
    assert "demo.enabled" in problem.message


def test_a_rule_over_two_keys_holds_for_trees_built_by_hand() -> None:
    with pytest.raises(ValidationError, match="one way to authenticate"):
        Config.model_validate({"nats": {"token": "a", "creds_file": "b"}})


def test_the_default_id_is_a_token_and_stays_the_same() -> None:
    assert re.fullmatch(ID_PATTERN, default_id())
    assert Config().process_id == default_id() == Config().process_id
    assert Config(id="pod-1").process_id == "pod-1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_default_id_is_another_one_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = default_id()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert default_id() != ours


@pytest.mark.parametrize(
    ("host", "cleaned"),
    [
        ("pod-1.example.org", "pod-1-example-org"),
        ("", "host"),
        ("…", "host"),
        ("-a-", "a"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_host_name_is_reduced_to_the_alphabet_of_tokens(host: str, cleaned: str) -> None:
    assert clean_host(host) == cleaned


def test_an_invalid_configuration_exits_with_the_code_for_usage() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("http.port=x")
    assert caught.value.exit_code is Exit.USAGE
