"""What is printed or generated: `config show`, the reference, the schema, the examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from chatmesh.config import Config, json_schema, load, render_reference, render_show
from chatmesh.config.generate import generated, main
from chatmesh.config.keys import Kind, all_keys, leaf_keys
from tests.config.support import load_text

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = ["all-in-one.yaml", "pod.yaml", "worker.yaml"]


def test_show_gives_every_effective_value_with_its_origin(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, "http:\n  port: 1\n", {"CHATMESH_LOG__LEVEL": "debug"}, ["id=a", "nats.token=t"]
    )
    shown = render_show(loaded).replace(f"{tmp_path}/", "")
    lines = [line.strip() for line in shown.splitlines()]
    assert "port: 1  # chatmesh.yaml:2" in lines
    assert "level: debug  # CHATMESH_LOG__LEVEL" in lines
    assert "id: a  # --set id=a" in lines
    assert "token: ***  # --set nats.token=***" in lines
    assert "max_connections: 10000  # default" in lines
    assert all(f"{key.path[-1]}:" in shown for key in all_keys().values())


def test_show_without_secrets_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    text = "http: {host: '::1'}\nsse: {keepalive_seconds: 0.25}\nmodels: {'a b': {provider: demo}}\n".replace(
        "a b", "a.b:c"
    )
    loaded = load_text(
        tmp_path, text, overrides=["nats.user=true", "nats.data_dir=/a b/#c", "default_model=1"]
    )
    assert load_text(tmp_path, render_show(loaded)).config == loaded.config


def test_show_says_where_a_default_id_comes_from() -> None:
    assert "id: null  # default: from the host name" in render_show(load(None, environ={}))


@pytest.mark.parametrize("name", list(generated()))
def test_generated_files_are_up_to_date(name: str) -> None:
    read = json.loads if name.endswith(".json") else str  # pydantic's versions order keys differently
    content = (CONFIG / name).read_text(encoding="utf-8")
    assert read(content) == read(generated()[name]), "run `python -m chatmesh.config.generate`"


def test_generate_writes_both_files(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(generated())


def test_the_reference_reads_as_the_defaults(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, render_reference())
    assert loaded.config == Config()
    assert {path for path, origin in loaded.origins.items() if origin.kind != "file"} == {
        "models.demo.aliases",
        "models.demo.fallbacks",
    }


def test_the_reference_describes_every_key_with_its_variable() -> None:
    text = render_reference()
    for key in leaf_keys():
        assert key.info.description, key.dotted
        assert f" {key.environment}\n" in text, key.dotted
    assert max(map(len, text.splitlines())) <= 120


def test_every_number_in_seconds_hours_bytes_or_ms_says_its_unit() -> None:
    units = {"_seconds": "second", "_hours": "hour", "_bytes": "bytes", "_ms": "millisecond"}
    for key in leaf_keys():
        for ending, unit in units.items():
            if key.path[-1].endswith(ending):
                assert unit in (key.info.description or ""), key.dotted


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json_schema()
    definitions = schema["$defs"]
    assert schema["additionalProperties"] is False
    for key in all_keys().values():
        section = schema
        for name in key.path[:-1]:
            reference = section["properties"][name]["anyOf"][0]["$ref"]
            section = definitions[reference.rpartition("/")[2]]
        found = section["properties"][key.path[-1]]
        if key.kind is Kind.SECTION:
            found = definitions[found["anyOf"][0]["$ref"].rpartition("/")[2]]
        assert found["description"], key.dotted
    assert definitions["NatsConfig"]["additionalProperties"] is False
    json.dumps(schema)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_and_short_and_names_the_schema(name: str) -> None:
    text = (CONFIG / name).read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=chatmesh.schema.json\n")
    assert len(text.splitlines()) < 60
    assert load(CONFIG / name, environ={}).config.roles == tuple(yaml.safe_load(text)["roles"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_keys_an_example_has_in_comments_exist(name: str) -> None:
    known = {key.path[-1] for key in all_keys().values()}
    for line in (CONFIG / name).read_text(encoding="utf-8").splitlines():
        words = line.strip().removeprefix("#").strip().partition(":")
        if (
            line.strip().startswith("#")
            and words[1]
            and words[0].replace("_", "").isalpha()
            and words[0].islower()
        ):
            assert words[0] in known, line
