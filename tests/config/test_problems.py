"""What is wrong is said at once, with its place, what was expected, what was got, and the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatmesh.config import InvalidConfigError, load
from tests.config.support import flag_problem, load_text, problems_in

WRONG = """\
http:
  prot: 80
  port: abc
log: {level: inof}
nats:
  servers: [foo, nats://localhost]
  user: x
  token: y
streams: {partitions: 65, replicas: 9}
htp: 3
port: 3
sse: 5
id: a b
models:
  x: {provider: dmo}
  y: {}
  z:
"""


def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    found = problems_in(tmp_path, WRONG, {"CHATMESH_HTTP_PORT": "1"}, ["worker.concurrency=true"])
    assert [(problem.origin.removeprefix("chatmesh.yaml:"), problem.path) for problem in found] == [
        ("2:3", "http.prot"),
        ("3:3", "http.port"),
        ("4:7", "log.level"),
        ("6:13", "nats.servers[0]"),
        ("8:3", "nats.token"),
        ("9:11", "streams.partitions"),
        ("9:27", "streams.replicas"),
        ("10:1", "htp"),
        ("11:1", "port"),
        ("12:1", "sse"),
        ("13:1", "id"),
        ("15:7", "models.x.provider"),
        ("16:3", "models.y.provider"),
        ("17:3", "models.z"),
        ("CHATMESH_HTTP_PORT", "http_port"),
        ("--set worker.concurrency=true", "worker.concurrency"),
    ]


def test_the_text_of_the_error_holds_every_problem(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load_text(tmp_path, "http: {prot: 80}\nlog: {level: loud}\n")
    assert str(caught.value) == (
        "2 problems in the configuration:\n"
        f"  {tmp_path}/chatmesh.yaml:1:8: http.prot: expected a known key, got an unknown one; did you mean `port`?\n"
        f"  {tmp_path}/chatmesh.yaml:2:7: log.level: expected one of debug, info, warning, error, got 'loud'"
    )


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("sse.keepalive_secs=1", "did you mean `keepalive_seconds`?"),
        ("htp.port=1", "did you mean `http`?"),
        ("port=1", "did you mean `http.port`?"),
        ("log.level=INFO", "did you mean `info`?"),
        ("models.x.provider=dem", "did you mean `demo`?"),
        ("roles=[pod,wroker]", "did you mean `worker`?"),
        ("sessions.on_busy=rejected", "did you mean `reject`?"),
    ],
)
def test_the_nearest_right_word_is_suggested(override: str, suggestion: str) -> None:
    assert flag_problem(override).suggestion == suggestion


def test_an_unknown_section_is_told_of_the_flag_that_named_it() -> None:
    assert flag_problem("htp.port=1").origin == "--set htp.port=***"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("CHATMESH_HTTP_PORT", "did you mean `CHATMESH_HTTP__PORT`?"),
        ("CHATMESH_SSE__KEEPALIVE", "did you mean `CHATMESH_SSE__KEEPALIVE_SECONDS`?"),
        ("CHATMESH_http__port", "did you mean `CHATMESH_HTTP__PORT`?"),
        ("CHATMESH_", None),
        ("CHATMESH_QQQQQQ", None),
    ],
)
def test_an_unknown_variable_with_our_prefix_is_a_problem(name: str, suggestion: str | None) -> None:
    problem = flag_problem(environ={name: "1"})
    assert (problem.origin, problem.suggestion) == (name, suggestion)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("http.port=70000", "expected a whole number from 0 to 65535, got 70000"),
        ("http.port=-1", "expected a whole number from 0 to 65535, got -1"),
        ("http.port=true", "expected a whole number from 0 to 65535, got true"),
        ("http.port=80.5", "expected a whole number from 0 to 65535, got 80.5"),
        ("http.port='80'", "expected a whole number from 0 to 65535, got '80'"),
        ("http.port=", "expected a whole number from 0 to 65535, got nothing"),
        ("http.port=[1]", "expected a whole number from 0 to 65535, got a list"),
        ("http.enabled=1", "expected true or false, or null, got 1"),
        ("sse.keepalive_seconds=0", "expected a number above 0 up to 86400, got 0"),
        ("sse.keepalive_seconds=.inf", "expected a number above 0 up to 86400, got '.inf'"),
        ("sse.keepalive_seconds=1e999", "expected a number above 0 up to 86400, got inf"),
        ("worker.ack_wait_seconds=0.01", "expected a number from 0.1 to 86400, got 0.01"),
        ("nats.max_reconnects=-2", "expected a whole number from -1, got -2"),
        ("streams.partitions=0", "expected a whole number from 1 to 64, got 0"),
        ("streams.partitions=65", "expected a whole number from 1 to 64, got 65"),
        ("roles=[]", "expected one item at least, got an empty list"),
        ("roles=boss", "expected one of pod, worker, got 'boss'"),
        ("id=a.b", "expected 1 to 128 letters, digits, `_` or `-`, got 'a.b'"),
        ("default_model=", "expected a name: 1 to 200 visible ASCII characters, got nothing"),
        ("models=5", "expected a mapping, got '5'"),
        ("nats.data_dir=''", "expected a path, got ''"),
    ],
)
def test_a_value_out_of_its_type_or_bounds_is_said_with_what_was_expected(
    override: str, message: str
) -> None:
    assert flag_problem(override).message == message


@pytest.mark.parametrize(
    ("server", "part"),
    [
        ("localhost:4222", "expected nats:// or tls:// and a host"),
        ("ws://a", "expected nats:// or tls:// and a host"),
        ("nats://", "expected nats:// or tls:// and a host"),
        ("nats://a:99999", "expected an address"),
        ("nats://[::1", "expected an address"),
        ("nats://a/path", "expected nothing after host and port"),
        ("nats://u:hunter2@a", "use nats.user and nats.password"),
        ("u:hunter2@a", "use nats.user and nats.password"),
    ],
)
def test_a_server_that_is_no_plain_address_is_refused(server: str, part: str) -> None:
    problem = flag_problem(f"nats.servers={server}")
    assert part in problem.message
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        (["nats.user=u", "nats.token=t"], "nats.token"),
        (["nats.creds_file=c", "nats.nkey_seed_file=n"], "nats.nkey_seed_file"),
        (["nats.user=u", "nats.creds_file=c"], "nats.creds_file"),
        (["nats.password=p"], "nats.password"),
        (["nats.tls.cert_file=c"], "nats.tls.cert_file"),
        (["nats.tls.key_file=k"], "nats.tls.key_file"),
    ],
)
def test_keys_that_exclude_or_need_each_other_are_checked(overrides: list[str], path: str) -> None:
    assert flag_problem(*overrides).path == path


@pytest.mark.parametrize("override", ["", "=", "http.port", "http..port=1", ".http=1", "http.port :1", "=1"])
def test_a_flag_that_is_no_assignment_is_a_problem(override: str) -> None:
    assert flag_problem(override).message == "expected section.key=value, got something else"


def test_an_unknown_role_is_a_problem() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load(None, environ={}, role="worke", id="a/b")
    assert [(p.path, p.origin, p.suggestion) for p in caught.value.problems] == [
        ("roles", "--role worke", "did you mean `worker`?"),
        ("id", "--id a/b", None),
    ]


@pytest.mark.parametrize(
    ("text", "origin", "part"),
    [
        (
            "http:\n  port: 1\n  port: 2\n",
            "chatmesh.yaml:3:3",
            "expected each key once, got it again after chatmesh.yaml:2:3",
        ),
        ("http: [\n", "chatmesh.yaml:2:1", "expected YAML, got"),
        ("http: {port: 1]\n", "chatmesh.yaml:1:15", "expected ',' or '}', but got ']'"),
        ("nats: {password: ${X}}\n", "chatmesh.yaml:1:19", "a ${NAME} stands in quotes"),
        ("a: b: c\n", "chatmesh.yaml:1:5", "mapping values are not allowed here"),
        ("http:\n\tport: 1\n", "chatmesh.yaml:2:1", "expected YAML, got"),
        ("--- {}\n--- {}\n", "chatmesh.yaml:2:1", "another document"),
        ("- http\n", "chatmesh.yaml:1:1", "expected a mapping of sections, got a list"),
        ("http\n", "chatmesh.yaml:1:1", "expected a mapping of sections, got text"),
        ("? [a]\n: b\n", "chatmesh.yaml:1:3", "expected text as a key"),
        ("http: {port: !!int 5}\n", "chatmesh.yaml:1:14", "expected a plain value, got a YAML tag"),
        ("http: &a\n  host: *a\n", "chatmesh.yaml:1:7", "an alias to something around it"),
        ("http: {<<: 5}\n", "chatmesh.yaml:1:8", "expected a mapping after <<"),
        ("http: \x00\n", "chatmesh.yaml:1:7", "a character that YAML doesn't allow"),
        (b"http:\n  host: \xff\n", "chatmesh.yaml:2:9", "a byte that is not UTF-8"),
        ("a: " + "[" * 5000, "chatmesh.yaml:1:1", "nested too deeply"),
        ("http: {port: " + "[" * 60 + "]" * 60 + "}", "chatmesh.yaml:1:63", "50 levels"),
        ('"\\ud800": 1', "chatmesh.yaml:1:1", "half a character"),
        ('id: "\\ud800"', "chatmesh.yaml:1:5", "half a character"),
        ("#" * 1_048_577, "chatmesh.yaml:1:1", "more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_usable_yaml_is_a_problem_with_its_place(
    tmp_path: Path, text: str | bytes, origin: str, part: str
) -> None:
    found = problems_in(tmp_path, text)
    # A value that is nested too deeply is none of its key's either, which is said first.
    assert any(problem.origin == origin and part in problem.message for problem in found)


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert any(
        "at most 20000 values" in problem.message for problem in problems_in(tmp_path, "\n".join(lines))
    )


def test_a_file_that_is_missing_or_a_directory_is_a_problem(tmp_path: Path) -> None:
    for path, part in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidConfigError) as caught:
            load(path, environ={})
        (problem,) = caught.value.problems
        assert problem.origin == str(path)
        assert part in problem.message


def test_a_problem_with_a_value_that_a_higher_layer_replaces_has_no_effect(tmp_path: Path) -> None:
    text = "nats: {user: u, password: '${NOT_SET}'}\nhttp: {port: x}\n"
    config = load_text(tmp_path, text, overrides=["nats.password=p", "http.port=1"]).config
    assert config.http.port == 1


@pytest.mark.parametrize(
    ("models", "path", "message"),
    [
        (
            "{x: {provider: python}}",
            "models.x.provider",
            "expected a function (module:function) beside it, got none",
        ),
        (
            "{x: {provider: python, function: nowhere}}",
            "models.x.function",
            "expected module:function, got 'nowhere'",
        ),
        (
            "{x: {provider: demo, function: 'a:b'}}",
            "models.x.function",
            "expected it beside provider: python, got demo",
        ),
        (
            "{x: {provider: python, function: 'a:b', continuation: go_on}}",
            "models.x.continuation",
            "expected one of exact, overlap, restart, or null, got 'go_on'",
        ),
    ],
)
def test_a_model_of_a_function_needs_one_and_nobody_else_takes_its_keys(
    models: str, path: str, message: str
) -> None:
    problem = flag_problem(f"models={models}")
    assert (problem.path, problem.message) == (path, message)
