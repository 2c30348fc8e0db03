"""Secrets come in by name and never come out in a text."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path

import pytest

from chatmesh.config import InvalidConfigError, Loaded, render_show
from tests.config.support import config_of, flag_problem, load_text, problems_in

SECRET = "hunter2-Zq"


def _token(loaded: Loaded) -> str | None:
    token = loaded.config.nats.token
    return token.get_secret_value() if token else None


def test_variables_are_filled_in_anywhere_in_a_text(tmp_path: Path) -> None:
    text = "nats:\n  token: ${TOKEN}\n  allow_cleartext: true\n  servers: ['nats://${HOST}:${PORT}', '${MORE}']\nhttp: {port: '${PORT}'}\n"
    environ = {"TOKEN": "0123", "HOST": "a", "PORT": "42", "MORE": "nats://b"}
    loaded = load_text(tmp_path, text, environ)
    assert _token(loaded) == "0123"
    assert loaded.config.nats.servers == ("nats://a:42", "nats://b")
    assert loaded.config.http.port == 42


def test_a_servers_text_with_commas_may_come_from_a_variable(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "nats: {servers: '${ALL}'}", {"ALL": "nats://a,nats://b"})
    assert loaded.config.nats.servers == ("nats://a", "nats://b")


def test_a_doubled_dollar_stands_for_itself_and_values_are_not_filled_again(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "nats: {token: 'a$$b$${HOME}$${TOKEN}${TOKEN}'}", {"TOKEN": "${HOME}"})
    assert _token(loaded) == "a$$b${HOME}${TOKEN}${HOME}"


def test_a_variable_that_is_not_set_is_a_problem_that_names_it(tmp_path: Path) -> None:
    (problem,) = problems_in(tmp_path, "nats:\n  token: ${NATS_TOKN}\n", {"NATS_TOKEN": SECRET})
    assert (problem.path, problem.origin) == ("nats.token", "chatmesh.yaml:2:10")
    assert "NATS_TOKN" in problem.message
    assert problem.suggestion == "did you mean `NATS_TOKEN`?"


def test_a_bad_item_does_not_shift_the_places_of_the_others(tmp_path: Path) -> None:
    found = problems_in(tmp_path, "nats:\n  servers: ['${NOT_SET}', nats://a, foo]\n")
    assert [(problem.path, problem.origin) for problem in found] == [
        ("nats.servers[0]", "chatmesh.yaml:2:13"),
        ("nats.servers[2]", "chatmesh.yaml:2:37"),
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${A-b}", "${A:-b}", "a${b", "${ A }"])
def test_a_dollar_brace_that_names_no_variable_is_a_problem(tmp_path: Path, text: str) -> None:
    (problem,) = problems_in(tmp_path, f"nats: {{user: '{text}'}}\n", {"A": "1"})
    assert "write $${" in (problem.suggestion or "")


def test_environment_and_flags_are_taken_verbatim_for_secrets() -> None:
    odd = " #'\"{[${X}: "
    for token in (
        config_of(environ={"CHATMESH_NATS__TOKEN": odd}).nats.token,
        config_of(f"nats.token={odd}").nats.token,
    ):
        assert token is not None
        assert token.get_secret_value() == odd


@pytest.mark.parametrize(
    ("content", "secret"), [("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s", " s")]
)
def test_a_secret_is_read_from_its_file_without_the_newline_at_its_end(
    tmp_path: Path, content: str, secret: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    loaded = load_text(tmp_path, f"nats:\n  token_file: {path}\n")
    assert _token(loaded) == secret
    assert loaded.origins["nats.token"].where == f"{tmp_path}/chatmesh.yaml:2 (token_file)"


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    (problem,) = problems_in(tmp_path, "nats: {token: x}\n", overrides=[f"nats.token_file={path}"])
    assert problem.path == "nats.token_file"
    assert "got both (chatmesh.yaml:1:8)" in problem.message


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "No such file"), (b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * 70_000, "larger")],
)
def test_a_secrets_file_that_holds_none_is_a_problem(
    tmp_path: Path, content: bytes | None, part: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    problem = flag_problem(f"nats.token_file={path}")
    assert problem.path == "nats.token_file"
    assert part in problem.message


def test_no_secret_shows_in_what_is_printed_of_a_tree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        "nats: {user: u, password: '${S}'}\n"
        f"models: {{x: {{provider: openai, api_key: {SECRET}}}, y: {{provider: anthropic, api_key: '${{S}}'}}}}\n"
    )
    loaded = load_text(tmp_path, text, {"S": SECRET})
    assert loaded.config.nats.password is not None
    assert loaded.config.nats.password.get_secret_value() == SECRET
    logging.getLogger("test").warning("%r %s", loaded, loaded.config)
    shown = [repr(loaded), str(loaded.config), str(loaded.config.models), render_show(loaded), caplog.text]
    shown.append(repr(dict(loaded.config.nats)))
    assert SECRET not in "".join(shown)
    assert "***" in render_show(loaded)


@pytest.mark.parametrize(
    "text",
    [
        "nats: {password: hunter2-Zq}",
        "nats: {password: [hunter2-Zq]}",
        "nats: {password: {a: hunter2-Zq}}",
        "nats: {pasword: hunter2-Zq}",
        "nats: {password: hunter2-Zq, password: hunter2-Zq}",
        "nats: {password: *hunter2-Zq}",
        "nats: {password: !hunter2-Zq x}",
        "nats: {password: 'hunter2-Zq}",
        'nats: {password: "\\qhunter2-Zq"}',
        "nats: {password: hunter2-Zq: x}",
        "nats: {password: &a hunter2-Zq, user: &a x}\nx: 1",
        "nats: {servers: 'nats://u:hunter2-Zq@a'}",
        "nats: {servers: 'nats://u:hunter2-Zq@[a'}",
        "log: {level: '${S}'}",
        "nats: {servers: 'nats://${S}/x'}",
        "http: {port: '${S}'}",
        "id: '${S} '",
        "models: {x: {provider: '${S}'}}",
        "nats: '${S}'",
    ],
)
def test_no_secret_shows_in_a_problem(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load_text(tmp_path, text, {"S": SECRET})
    error = caught.value
    assert "hunter2" not in "".join(traceback.format_exception(error))
    assert "hunter2" not in repr(error.problems)
    assert error.__context__ is None


@pytest.mark.parametrize(
    "override",
    [
        f"nats.password={SECRET}",
        f"nats.pasword={SECRET}",
        f"nats={{password: {SECRET}}}",
        f"nats={{password: {SECRET}",
        f"nats.password:{SECRET}",
        f"nats.password.x={SECRET}",
        f"models.x={{api_key: {SECRET}}}",
        f"nats.servers=nats://u:{SECRET}@a",
    ],
)
def test_no_secret_shows_in_the_origin_of_a_flag(override: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        config_of(override)
    assert "hunter2" not in repr(caught.value.problems) + str(caught.value)


def test_secrets_survive_a_copy_but_not_a_dump() -> None:
    config = config_of(f"nats.token={SECRET}")
    copy = config.nats.model_copy()
    assert copy == config.nats
    assert SECRET not in config.model_dump_json()
    assert SECRET.encode() in pickle.dumps(
        config.nats
    )  # who sends a section to a child process gets the real one
