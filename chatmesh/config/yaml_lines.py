"""YAML text becomes plain values, and every key and item keeps the line it came from.

The text is composed into nodes instead of loaded, for three things: lines, duplicate keys, and text as it was written
where a key wants text (`id: 007`, `user: no`). Tags are refused; anchors, aliases and `<<` work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from chatmesh.config.draft import Draft, Origin
from chatmesh.config.keys import Kind, Place, dotted, kind_at
from chatmesh.config.problems import Problem
from chatmesh.config.secrets import BadReferenceError, fill_in
from chatmesh.config.yaml_text import NULL, is_unicode, plain_value

_MAX_NODES = 20_000
"""Aliases can make a short text very large; a real configuration has some hundred nodes."""
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}
_SKIP = object()
"""Stands for a value that was reported, or a section left empty: the default takes its place."""


def read_node(
    node: yaml.Node,
    place: Place,
    origin_for: Callable[[yaml.Mark], Origin],
    environ: Mapping[str, str] | None,
) -> Draft:
    """Turn a node into a draft with the node's value at `place`, or nothing there where it was reported or empty.

    `environ` fills in `${NAME}`; None leaves text as it is. Problems are in the draft.
    """
    reader = _Reader(origin_for, environ)
    value = reader.read(node, place)
    draft = reader.draft
    if value is _SKIP:
        return draft
    for key in reversed(place):
        value = {key: value}
    if isinstance(value, dict):
        draft.values = value
    if place:
        draft.origins[place] = origin_for(node.start_mark)
    return draft


class _Reader:
    def __init__(self, origin_for: Callable[[yaml.Mark], Origin], environ: Mapping[str, str] | None) -> None:
        self.draft = Draft()
        self._origin_for = origin_for
        self._environ = environ
        self._open: list[yaml.Node] = []
        self._nodes = 0

    def read(self, node: yaml.Node, place: Place) -> Any:
        self._nodes += 1
        if node in self._open:
            return self._problem(place, node, "expected a value, got an alias to something around it")
        if self._nodes > _MAX_NODES or len(self._open) > 50:
            if self._nodes <= _MAX_NODES + 1:
                self._problem(place, node, f"expected at most {_MAX_NODES} values in 50 levels, got more")
            return _SKIP
        if node.tag not in _PLAIN_TAGS:
            return self._problem(
                place, node, "expected a plain value, got a YAML tag", "put text that begins with ! in quotes"
            )
        self._open.append(node)
        try:
            return self._by_shape(node, place)
        finally:
            self._open.pop()

    def _by_shape(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, place)
        return self._scalar(node, place) if isinstance(node, yaml.ScalarNode) else _SKIP

    def _sequence(self, node: yaml.SequenceNode, place: Place) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self.draft.origins[*place, index] = self._origin_for(item.start_mark)
            value = self.read(item, (*place, index))
            items.append(None if value is _SKIP else value)  # a gap would shift the places of later items
        return items

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        seen: dict[str, Origin] = {}
        for key, item in self._pairs(node, place):
            here = (*place, key.value)
            if key.value in seen:
                self._problem(
                    here, key, f"expected each key once, got it again after {seen[key.value].exact}"
                )
                continue
            seen[key.value] = self.draft.origins[here] = self._origin_for(key.start_mark)
            value = self.read(item, here)
            if value is not _SKIP:
                values[key.value] = value
        return self._merged(node, place, values)

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, item in node.value:
            if (
                not isinstance(key, yaml.ScalarNode)
                or key.tag not in _PLAIN_TAGS
                or not is_unicode(key.value)
            ):
                self._problem(
                    place, key, "expected text as a key, got a list, a mapping, a tag or half a character"
                )
            elif not _is_merge(key):
                yield key, item

    def _merged(self, node: yaml.MappingNode, place: Place, values: dict[str, Any]) -> dict[str, Any]:
        """Add what `<<` brings, the first one first; keys of the mapping itself win."""
        for key, item in node.value:
            if not _is_merge(key):
                continue
            for source in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                own = self.draft.origins.copy()
                brought = self.read(source, place) if isinstance(source, yaml.MappingNode) else None
                if isinstance(brought, dict):
                    values = brought | values
                elif brought is None:
                    self._problem(place, key, "expected a mapping after <<, got something else")
                self.draft.origins |= own
        return values

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        kind = kind_at(place) if place else Kind.SECTION
        text: str = node.value
        if node.style is None and NULL.fullmatch(text):
            return _SKIP if kind in (Kind.SECTION, Kind.MODELS) else None
        filled = False
        if self._environ is not None:
            try:
                text, filled = fill_in(text, self._environ)
            except BadReferenceError as error:
                return self._problem(place, node, str(error), error.mend)
        if not is_unicode(text):
            return self._problem(
                place, node, "expected text, got bytes that are no UTF-8 or half a character"
            )
        if filled or kind is Kind.SECRET:
            self.draft.veiled.add(place)
        if kind is not Kind.OTHER:
            return text
        return plain_value(text) if filled or node.style is None else text

    def _problem(self, place: Place, node: yaml.Node, message: str, suggestion: str | None = None) -> object:
        origin = self._origin_for(node.start_mark)
        self.draft.problems.append(Problem(dotted(place), origin.exact, message, suggestion))
        return _SKIP


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None
