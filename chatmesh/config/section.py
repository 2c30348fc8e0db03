"""What all sections of the configuration are made of: the base class and the types of single values.

Numbers are strict: neither text nor true/false passes as a number. Text is taken as it was written (`id: 007` is the
text "007"); that is decided where the file is read, see `yaml_lines`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from chatmesh.config.identity import ID_PATTERN


class Section(BaseModel):
    """One level of the tree: unknown keys are refused, nothing changes after it was built.

    `hide_input_in_errors` keeps what was given, which may be a secret, out of pydantic's own messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Wants:
    """Says in words what a value should be, where its type alone doesn't. Follows "expected …" in a problem."""

    text: str


def split_commas(value: object) -> object:
    """Take `a, b` as the list of a and b, for a list that came as one string."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list. Field(min_length) does too, but old pydantic counts items that failed as missing."""
    if not items:
        raise ValueError("expected one item at least, got an empty list")
    return items


def one_or_more(item: dict[str, Any]) -> dict[str, Any]:
    """Give the JSON schema of a list that may also come as one text with commas."""
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": item, "minItems": 1}]}


def _fitting(accepts: Callable[[str], object], wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not accepts(value):
            raise ValueError(f"expected {wanted}, got {value!r}")
        return value

    return AfterValidator(check)


def _path_text(value: object) -> object:
    if isinstance(value, str) and (not value or "\0" in value):
        raise ValueError(f"expected a path, got {value!r}")
    return value


Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
Amount = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[Amount, Field(gt=0, le=86_400)]
"""More than nothing, a day at most: what is larger is a typo or a wrong unit."""
Hours = Annotated[Amount, Field(gt=0, le=87_600)]
"""Up to ten years; fractions are for tests that want to see something grow old."""
StoreBytes = Annotated[Count, Field(ge=1024, le=2**50)]

_ID = "1 to 128 letters, digits, `_` or `-`"
Token = Annotated[
    str,
    Field(json_schema_extra={"pattern": ID_PATTERN}),
    Wants(_ID),
    _fitting(re.compile(ID_PATTERN).fullmatch, _ID),
]
_NAME = "a name: 1 to 200 visible ASCII characters"
ModelName = Annotated[
    str,
    Field(json_schema_extra={"pattern": "^[!-~]{1,200}$"}),
    Wants(_NAME),
    _fitting(re.compile("[!-~]{1,200}").fullmatch, _NAME),
]
Line = Annotated[str, Wants("text"), _fitting(lambda text: text and text.isprintable(), "one line of text")]
File = Annotated[Path, Wants("a path"), BeforeValidator(_path_text)]
