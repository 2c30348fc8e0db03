"""YAML as text: parsed into nodes with lines, and what a plain scalar means. Errors quote nothing of the text."""

from __future__ import annotations

import re
from typing import Any

import yaml

NULL = re.compile(r"~|null|Null|NULL|")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_SHOWN = re.compile(r".?|[<\\].*")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


class BadYamlError(ValueError):
    """The text is no YAML. `line` and `column` count from 1; the message quotes nothing of the text."""

    def __init__(self, what: str, line: int = 1, column: int = 1) -> None:
        super().__init__(what)
        self.line = line
        self.column = column


class _Loader(yaml.SafeLoader):
    """Leaves plain scalars alone: what they mean depends on the key, see `yaml_lines`."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the library declares it so


def compose(text: str) -> yaml.Node | None:
    """Parse one document; None for an empty one. Raises BadYamlError only."""
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = f"text that is none: {_unquoted(error.problem or error.context or 'not YAML')}"
        if _is_reference(text, line, column):
            what += "; inside { } and [ ] a ${NAME} stands in quotes"
        raise BadYamlError(what, line, column) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        raise BadYamlError(
            "a character that YAML doesn't allow", before.count("\n") + 1, len(before) - before.rfind("\n")
        ) from None
    except RecursionError:
        raise BadYamlError("text that is nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML lets an escape such as "\UFFFFFFFF" through to chr().
        raise BadYamlError("a character or escape that YAML doesn't allow") from None


def _unquoted(problem: str) -> str:
    """Drop what the library quotes from the text, which may be a secret: `password: *abc` is an alias to it. Single
    characters and the library's own words (`<stream end>`) stay."""
    return re.sub(r"'([^']*)'", lambda quote: quote[0] if _SHOWN.fullmatch(quote[1]) else "…", problem)


def _is_reference(text: str, line: int, column: int) -> bool:
    """Whether that place is the brace of a `${`."""
    row = text.splitlines()[line - 1 : line]
    return bool(row) and row[0][max(column - 2, 0) : column] == "${"


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8; an escape such as "\\ud800", or a variable in bytes, makes one that can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_value(text: str) -> Any:
    """Give what a plain scalar means: null, true/false, a number, else the text itself.

    Numbers are YAML 1.2's, so 010 and 1:30 are text and not 8 and 90.
    """
    if NULL.fullmatch(text):
        return None
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        if _WHOLE.fullmatch(text):
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
    except ValueError:
        pass  # more digits than Python converts, or underscores in odd places
    return text
