"""The section `models`: names, patterns and aliases, keys of each provider, and keys that are secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatmesh.config import InvalidConfigError, render_show
from tests.config.support import config_of, flag_problem, load_text, problems_in

SECRET = "hunter2-Zq"

FULL = """\
models:
  gpt-4o:
    provider: openai
    model: 4.1
    base_url: http://127.0.0.1:11434/v1
    api_key: ${KEY}
    aliases: [best, "best-*"]
    continuation: exact
    retries: ${RETRIES}
    first_token_seconds: 5
    price_input: 2.5
  "claude-*":
    provider: anthropic
    api_key_file: KEYFILE
    api_version: 2026-10-21
    max_tokens: 100
"""


def test_models_of_servers_are_read_with_their_types(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"{SECRET}\n")
    text = FULL.replace("KEYFILE", str(key))
    loaded = load_text(tmp_path, text, {"KEY": SECRET, "RETRIES": "3"})
    gpt, claude = loaded.config.models["gpt-4o"], loaded.config.models["claude-*"]
    assert (gpt.model, gpt.retries, gpt.aliases) == ("4.1", 3, ("best", "best-*"))
    assert gpt.api_key is not None
    assert claude.api_key is not None
    assert gpt.api_key.get_secret_value() == claude.api_key.get_secret_value() == SECRET
    assert (claude.api_version, claude.max_tokens) == ("2026-10-21", 100)
    shown = render_show(loaded)
    assert SECRET not in shown + repr(loaded) + str(loaded.config.models)
    assert "    api_key: ***" in shown
    assert "    idle_seconds: 60  # default" in shown
    assert "(api_key_file)" in shown


def test_a_key_can_come_from_the_environment() -> None:
    environ = {"CHATMESH_MODELS__GPT__API_KEY": "007", "CHATMESH_MODELS__GPT__PROVIDER": "openai"}
    key = config_of(environ=environ).models["gpt"].api_key
    assert key is not None
    assert key.get_secret_value() == "007"


def test_every_mistake_is_reported_with_its_line(tmp_path: Path) -> None:
    text = (
        "models:\n"
        "  a: {provider: openia}\n"
        "  b: {provider: openai, base_ulr: http://h}\n"
        "  c: {provider: anthropic, continuation: exakt}\n"
        "  d: {provider: openai, base_url: ftp://h}\n"
        "  e: {provider: openai, connect_seconds: 0}\n"
        "  f: {provider: demo, base_url: http://h}\n"
        "  g: {provider: openai, api_version: 2023-06-01}\n"
        "  h: {provider: openai, api_key_file: /none}\n"
        "  i-*-*: {provider: openai}\n"
        "  j-*: {provider: demo}\n"
        "  k: {provider: openai, aliases: [d]}\n"
        "  l-*: {provider: openai, aliases: [m]}\n"
        "  n: {provider: anthropic, api_version: new}\n"
        "  o: {provider: openai, fallbacks: [o]}\n"
        "  p: {provider: openai, fallbacks: [nobody]}\n"
    )
    found = {problem.path: problem for problem in problems_in(tmp_path, text)}
    lines = {path: problem.origin.split(":")[1] for path, problem in found.items()}
    assert lines == {
        "models.a.provider": "2",
        "models.b.base_ulr": "3",
        "models.c.continuation": "4",
        "models.d.base_url": "5",
        "models.e.connect_seconds": "6",
        "models.f.base_url": "7",
        "models.g.api_version": "8",
        "models.h.api_key_file": "9",
        "models.i-*-*": "10",
        "models.j-*": "11",
        "models.k.aliases": "12",
        "models.l-*.aliases": "13",
        "models.n.api_version": "14",
        "models.o.fallbacks": "15",
        "models.p.fallbacks": "16",
    }
    assert found["models.a.provider"].suggestion == "did you mean `openai`?"
    assert found["models.b.base_ulr"].suggestion == "did you mean `base_url`?"
    assert found["models.c.continuation"].suggestion == "did you mean `exact`?"
    assert "openai or anthropic, got demo" in found["models.f.base_url"].message
    assert "provider: anthropic, got openai" in found["models.g.api_version"].message


def test_models_of_different_providers_may_share_a_name() -> None:
    models = config_of(
        "models={big: {provider: openai, aliases: [best]}, large: {provider: anthropic, aliases: [best, big]}}"
    ).models
    assert models["big"].aliases == ("best",)


def test_a_key_and_a_file_with_it_exclude_each_other(tmp_path: Path) -> None:
    text = f"models: {{x: {{provider: openai, api_key: {SECRET}, api_key_file: /k}}}}\n"
    (problem,) = problems_in(tmp_path, text)
    assert "got both" in problem.message
    assert SECRET not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        f"models: {{x: {{provider: openai, api_key: 'two {SECRET}'}}}}",
        f"models: {{x: {{provider: openai, api_key: [{SECRET}]}}}}",
        f"models: {{x: {{provider: openai, apikey: {SECRET}}}}}",
        f"models: {{x: {{provider: python, function: 'a:b', api_key: {SECRET}}}}}",
        f"models: {{x: {{provider: openai, base_url: 'https://u:{SECRET}@h/v1'}}}}",
        f"models: {{x: {{provider: openai, base_url: 'https://h/v1?key={SECRET}'}}}}",
        f"models: {{x: {{provider: openai, base_url: 'https://u:{SECRET}@[h'}}}}",
    ],
)
def test_no_key_shows_in_a_problem(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load_text(tmp_path, text)
    assert "hunter2" not in str(caught.value) + repr(caught.value.problems)


@pytest.mark.parametrize("key", ["api_key", "apikey", "base_url"])
def test_no_key_shows_in_the_origin_of_a_flag(key: str) -> None:
    problem = flag_problem(f"models.x={{provider: openai, {key}: 'a {SECRET}'}}")
    assert "hunter2" not in problem.origin


def test_an_address_is_what_a_client_can_use() -> None:
    for address in ("h", "http://", "http://h:99999", "http://h/a b", "http://h/ü"):
        problem = flag_problem(f"models={{x: {{provider: openai, base_url: '{address}'}}}}")
        assert "expected an address such as https://host/v1" in problem.message
