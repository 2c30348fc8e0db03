"""Any valid value gives the same tree, whichever way it came in; no file gives anything but a tree or a ConfigError."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmesh.config import Config, load
from chatmesh.config.expected import choices
from chatmesh.config.keys import Key, Kind, leaf_keys
from chatmesh.config.limits import OF_CALLERS
from chatmesh.errors import ConfigError

_VISIBLE = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("C", "Z"))
_LINE = st.text(_VISIBLE, min_size=1, max_size=30)
_NAME = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
_SERVER = st.builds(
    "{}://{}:{}".format,
    st.sampled_from(["nats", "tls"]),
    st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True),
    st.integers(1, 65535),
)
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "id": _NAME,
    "default_model": st.text(string.printable[:94], min_size=1, max_size=20),
    "servers": st.lists(_SERVER, min_size=1, max_size=3),
    "roles": st.sampled_from([["pod"], ["worker"], ["pod", "worker"], ["worker", "pod"]]),
    "partitions": st.integers(1, 64),
    "jetstream_api": st.sampled_from(["$JS.API", "$CHAT.API"]),
    "connections_per_address": st.integers(1, 1000),
    "own_port": st.integers(1, 65_535),
    "readers_per_session": st.integers(1, 1000),
    "allowed_origins": st.lists(st.sampled_from(["https://a.example", "http://b.example:8080"]), max_size=2),
    "allowed_hosts": st.lists(st.sampled_from(["a.example", "127.0.0.1"]), min_size=1, max_size=2),
    "host": st.sampled_from(["127.0.0.1", "localhost", "::1"]),  # others ask for auth too
    "mode": st.just("none"),
    "algorithms": st.sampled_from([["RS256"], ["ES256", "ES512"], ["EdDSA"]]),
    "secret": st.text(_VISIBLE, min_size=32, max_size=60),
    "leeway_seconds": st.floats(0, 300),
    "endpoint": st.sampled_from(["http://127.0.0.1:4318/v1/traces", "https://spans.example/v1/traces"]),
    "sample_ratio": st.floats(0, 1),
    "models": st.dictionaries(_NAME, st.just({"provider": "openai", "retries": 1}), max_size=2),
}
_NOT_ALONE = (*OF_CALLERS, "password", "password_file", "token_file", "secret_file", "cert_file", "key_file")
_KEYS = [key for key in leaf_keys() if key.path[-1] not in _NOT_ALONE]


def _values(key: Key) -> st.SearchStrategy[Any]:
    if key.path[-1] in _BY_NAME:
        return _BY_NAME[key.path[-1]]
    if words := choices(key.info):
        return st.sampled_from(words)
    if key.kind in (Kind.TEXT, Kind.SECRET):
        return _LINE
    annotation = key.info.annotation
    types = [part for part in get_args(annotation) if part is not type(None)] or [annotation]
    if types[0] is bool or (get_origin(types[0]) and bool in get_args(types[0])):
        return st.booleans()
    low = max([0.125, *(item.ge for item in key.info.metadata if hasattr(item, "ge"))])
    if types[0] is float:
        return st.floats(low, 80_000)
    high = (
        min(item.le for item in key.info.metadata if hasattr(item, "le"))
        if key.path[-1] != "max_reconnects"
        else 9
    )
    return st.integers(int(max(low, 1)), high)


@st.composite
def _settings(draw: st.DrawFn) -> tuple[Key, Any]:
    key = draw(st.sampled_from(_KEYS))
    return key, draw(_values(key))


def _as_text(key: Key, value: Any) -> str:
    return str(value) if key.kind is Kind.SECRET else json.dumps(value)


def _from_file(content: bytes) -> Config:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "chatmesh.yaml"
        path.write_bytes(content)
        return load(path, environ={}).config


@given(_settings())
@settings(max_examples=400, deadline=None)
def test_a_value_gives_the_same_tree_by_file_environment_and_flag(setting: tuple[Key, Any]) -> None:
    key, value = setting
    tree: Any = value
    for part in reversed(key.path):
        tree = {part: tree}
    content = yaml.safe_dump(tree, allow_unicode=True).replace("${", "$${")
    by_file = _from_file(content.encode())
    text = _as_text(key, value)
    if text.lower() in ("~", "null"):  # for a secret these two words mean none
        return
    by_environment = load(None, environ={key.environment: text}).config
    by_flag = load(None, environ={}, overrides=[f"{key.dotted}={text}"]).config
    assert by_file == by_environment == by_flag
    assert by_file.model_fields_set == {key.path[0]}


@given(_LINE)
@settings(max_examples=200, deadline=None)
def test_text_needs_no_quotes_in_environment_and_flags(text: str) -> None:
    if text[0] in "'\"[{" or text.lower() in ("~", "null"):
        return
    assert load(None, environ={"CHATMESH_NATS__USER": text}).config.nats.user == text
    assert load(None, environ={}, overrides=[f"nats.user={text}"]).config.nats.user == text


def _only_config_errors(content: bytes) -> None:
    try:
        _from_file(content)
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - an error is allowed here, not expected


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_raise_nothing_but_a_config_error(content: bytes) -> None:
    _only_config_errors(content)


_PIECES = st.sampled_from(
    [
        *"{}[]:,&*!|>%@`'\"#?-~<= \n\t0x",
        "nats",
        "http",
        "port",
        "models",
        "provider",
        "demo",
        ": ",
        "\n  ",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "${A}",
        "$${",
        "!!int ",
        "!!binary ",
        "---\n",
        "...\n",
        "\\U99999999",
        '"\\ud800"',
        "1e999",
        "2001-99-99",
        "1_0",
        "🙂",
    ]
)


@given(st.lists(_PIECES, max_size=40).map("".join))
@settings(max_examples=1500, deadline=None)
@pytest.mark.slow
def test_hostile_yaml_raises_nothing_but_a_config_error(text: str) -> None:
    _only_config_errors(text.encode("utf-8", "surrogatepass"))


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([key.path[-1] for key in leaf_keys()]) | st.text(max_size=5), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(list(Config.model_fields)), _TREES, max_size=4), _TREES)
@settings(max_examples=600, deadline=None)
@pytest.mark.slow
def test_wrong_shapes_raise_nothing_but_a_config_error(tree: dict[str, Any], value: Any) -> None:
    _only_config_errors(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
    for name in Config.model_fields:
        try:
            load(None, environ={f"CHATMESH_{name.upper()}": yaml.safe_dump(value, default_flow_style=True)})
        except ConfigError as error:
            assert str(error)  # noqa: PT017 - an error is allowed here, not expected


@given(st.text(max_size=40), st.text(max_size=20))
@settings(max_examples=500, deadline=None)
def test_any_flag_and_any_variable_raise_nothing_but_a_config_error(flag: str, name: str) -> None:
    for overrides, environ in (([flag], {}), ([f"nats.user={flag}"], {}), ([], {f"CHATMESH_{name}": flag})):
        try:
            load(None, environ=environ, overrides=overrides, role=flag or None, id=name or None)
        except ConfigError as error:
            assert str(error)  # noqa: PT017 - an error is allowed here, not expected


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_of_many_digits_is_a_problem(digits: int) -> None:
    for key in ("http.port", "sse.keepalive_seconds"):
        with pytest.raises(ConfigError):
            load(None, environ={}, overrides=[f"{key}={'9' * digits}"])
