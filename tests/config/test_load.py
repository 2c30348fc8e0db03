"""Sources and their order: defaults, file, environment, flags; every value knows where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatmesh.config import Config, load
from tests.config.support import config_of, flag_problem, load_text


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null\n", "\ufeff", "http:\nsse:\nmodels:\nnats: {tls: }\n"]
)
def test_an_empty_file_or_section_means_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_text(tmp_path, text).config == Config()


def test_environment_goes_over_the_file_and_flags_over_both(tmp_path: Path) -> None:
    text = "http: {port: 1, host: '::1'}\nbatch: {flush_ms: 1}\nsse:\n  keepalive_seconds: 1\n"
    environ = {"CHATMESH_HTTP__PORT": "2", "CHATMESH_BATCH__FLUSH_MS": "2"}
    loaded = load_text(tmp_path, text, environ, ["http.port=3"])
    assert (loaded.config.http.port, loaded.config.batch.flush_ms) == (3, 2)
    assert (loaded.config.sse.keepalive_seconds, loaded.config.http.host) == (1, "::1")
    where = {
        path: (origin.kind, origin.where.removeprefix(f"{tmp_path}/"))
        for path, origin in loaded.origins.items()
    }
    assert where["http.port"] == ("flag", "--set http.port=3")
    assert where["batch.flush_ms"] == ("environment", "CHATMESH_BATCH__FLUSH_MS")
    assert where["sse.keepalive_seconds"] == ("file", "chatmesh.yaml:4")
    assert where["log.level"] == ("default", "default")
    assert where["models.demo.provider"] == ("default", "default")


def test_the_later_of_two_flags_wins() -> None:
    assert config_of("http.port=1", "http.port=2").http.port == 2


def test_the_shortest_pod_of_the_documentation_starts() -> None:
    overrides = ["nats.servers=nats://127.0.0.1:4333", "http.port=8081"]
    loaded = load(None, environ={}, overrides=overrides, role="pod", id="pod-1")
    assert (loaded.config.roles, loaded.config.process_id) == (("pod",), "pod-1")
    assert loaded.config.nats.servers == ("nats://127.0.0.1:4333",)
    assert loaded.origins["roles"].where == "--role pod"
    assert loaded.origins["id"].where == "--id pod-1"


def test_role_all_is_both_roles_and_goes_over_everything() -> None:
    assert load(None, environ={}, overrides=["roles=pod"], role="all").config.roles == ("pod", "worker")


@pytest.mark.parametrize(
    ("override", "servers"),
    [
        ("nats.servers=nats://a", ("nats://a",)),
        ("nats.servers=nats://a:1, tls://b:2", ("nats://a:1", "tls://b:2")),
        ("nats.servers=[nats://a,nats://b]", ("nats://a", "nats://b")),
        ("nats={servers: [nats://a]}", ("nats://a",)),
    ],
)
def test_servers_come_as_one_text_or_as_a_list(override: str, servers: tuple[str, ...]) -> None:
    assert config_of(override).nats.servers == servers


def test_a_section_in_one_flag_leaves_the_other_keys_of_the_file(tmp_path: Path) -> None:
    config = load_text(tmp_path, "http: {port: 1, host: '::1'}", overrides=["http={port: 2}"]).config
    assert (config.http.port, config.http.host) == (2, "::1")


@pytest.mark.parametrize(
    "override",
    [
        "models={gpt-4.1: {provider: demo}}",
        'models."gpt-4.1".provider=demo',
        'models."gpt-4.1"={provider: demo}',
    ],
)
def test_a_model_can_be_added_by_a_flag_even_with_dots_in_its_name(override: str) -> None:
    loaded = load(None, environ={}, overrides=[override])
    assert set(loaded.config.models) == {"gpt-4.1"}
    assert loaded.origins['models."gpt-4.1".provider'].kind == "flag"


def test_text_is_taken_as_it_is_written(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "id: 007\nnats: {user: no, password: 1e3}\n")
    assert (loaded.config.id, loaded.config.nats.user) == ("007", "no")
    assert loaded.config.nats.password is not None
    assert loaded.config.nats.password.get_secret_value() == "1e3"
    assert config_of(environ={"CHATMESH_ID": "007"}).id == "007"
    assert config_of('id="007"').id == "007"


def test_null_takes_a_value_of_a_lower_layer_away(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "id: a\nnats: {token: a}\n", overrides=["id=null", "nats.token=null"])
    assert (loaded.config.id, loaded.config.nats.token) == (None, None)


def test_octal_and_base_sixty_are_not_read_into_numbers() -> None:
    assert "'010'" in flag_problem("http.port=010").message
    assert "'1:30'" in flag_problem("http.port=1:30").message


def test_anchors_aliases_and_merges_work(tmp_path: Path) -> None:
    text = (
        "models:\n  a: &a {provider: openai, retries: 1}\n  b: *a\n  c: {<<: *a, retries: 2}\n"
        "  d: {<<: [*a, {max_tokens: 3, retries: 4}]}\n"
    )
    models = load_text(tmp_path, text).config.models
    assert models["b"] == models["a"]
    assert models["c"].retries == 2
    assert (models["d"].retries, models["d"].max_tokens) == (1, 3)


def test_the_variable_for_the_files_path_is_no_key() -> None:
    assert config_of(environ={"CHATMESH_CONFIG": "/etc/chatmesh.yaml", "OTHER": "1"}) == Config()


def test_variables_that_kubernetes_sets_for_a_service_called_chatmesh_are_passed_over() -> None:
    links = {
        "CHATMESH_SERVICE_HOST": "10.0.0.1",
        "CHATMESH_SERVICE_PORT": "80",
        "CHATMESH_SERVICE_PORT_HTTP": "80",
        "CHATMESH_PORT": "tcp://10.0.0.1:80",
        "CHATMESH_PORT_80_TCP": "tcp://10.0.0.1:80",
        "CHATMESH_PORT_80_TCP_ADDR": "10.0.0.1",
        "CHATMESH_POD_SERVICE_HOST": "10.0.0.1",
    }
    assert config_of(environ=links) == Config()
    assert flag_problem(environ={"CHATMESH_PORT": "8080"}).origin == "CHATMESH_PORT"


def test_all_three_answers_to_a_busy_session_parse() -> None:
    assert [
        config_of(f"sessions.on_busy={word}").sessions.on_busy for word in ("queue", "reject", "interrupt")
    ] == [
        "queue",
        "reject",
        "interrupt",
    ]
