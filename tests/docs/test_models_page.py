"""docs/models.md says the truth about defaults, codes and what is passed on, and its example is valid."""

from __future__ import annotations

import re
from pathlib import Path

from chatmesh.config.models import ModelConfig
from chatmesh.providers.anthropic_request import PASSED_ON as TO_ANTHROPIC
from chatmesh.providers.openai_request import PASSED_ON as TO_OPENAI
from tests.config.support import load_text
from tests.docs.pages import ROOT, page, rows

MODELS = page("docs/models.md")


def test_every_default_on_the_page_is_the_default() -> None:
    table = list(rows(MODELS.section("Times and tries")))
    assert len(table) == 5
    for key, default, _ in table:
        assert ModelConfig.model_fields[key.strip("`")].default == float(default), key


def test_every_code_of_a_provider_is_on_the_page_and_no_other() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "chatmesh").rglob("*.py"))
    used = set(re.findall(r'"(provider_[a-z_]+)"', code))
    assert {cells[0].strip("`") for cells in rows(MODELS.section("Errors"))} == used


def test_every_parameter_that_is_passed_on_is_on_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", MODELS.section("What is asked")))
    assert {*TO_OPENAI, *TO_ANTHROPIC} <= named


def test_the_example_is_valid(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k")
    (example,) = MODELS.blocks("yaml")
    text = example.replace("/run/secrets/anthropic", str(key))
    models = load_text(tmp_path, text, {"OPENAI_API_KEY": "k"}).config.models
    assert set(models) == {"gpt-4o", "claude-*", "local", "parrot"}
