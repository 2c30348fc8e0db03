"""The three sources, each read into a draft: the file, the environment, the flags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from chatmesh.config.draft import Draft, Origin
from chatmesh.config.keys import Kind, all_keys, dotted, kind_at
from chatmesh.config.problems import Problem, did_you_mean, quoted
from chatmesh.config.yaml_lines import read_node
from chatmesh.config.yaml_text import BadYamlError, compose, plain_value

PREFIX = "CHATMESH_"
RESERVED = ("CHATMESH_CONFIG", "CHATMESH_URL", "CHATMESH_TOKEN")
"""Names with the prefix that are no keys: the path of the configuration file, and what `chat` and `send` talk to."""
ROLES = {"pod": ["pod"], "worker": ["worker"], "all": ["pod", "worker"]}

_MAX_FILE_BYTES = 1_048_576
_KEY_PART = re.compile(r'"([^"]*)"|([^."=\s]+)')
_SERVICE_LINK = re.compile(
    r"_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def from_file(path: Path, environ: Mapping[str, str]) -> Draft:
    """Read a YAML file. Whatever is wrong with it is a problem in the draft; nothing is raised."""
    name = str(path)
    try:
        text = _text_of(path)
        node = compose(text)
    except BadYamlError as error:
        return _only(Problem("", f"{name}:{error.line}:{error.column}", f"expected YAML, got {error}"))
    except OSError as error:
        return _only(
            Problem("", name, f"expected a readable file, got: {error.strerror or error}", _mend(error))
        )
    except ValueError as error:  # a path with a null character
        return _only(Problem("", quoted(name), f"expected a readable file, got: {error}"))
    if node is None:
        return Draft()

    def origin_for(mark: yaml.Mark) -> Origin:
        return Origin("file", f"{name}:{mark.line + 1}", mark.column + 1)

    if not isinstance(node, yaml.MappingNode) and not (
        isinstance(node, yaml.ScalarNode) and plain_value(node.value) is None
    ):
        what = "a list" if isinstance(node, yaml.SequenceNode) else "text"
        return _only(
            Problem("", origin_for(node.start_mark).exact, f"expected a mapping of sections, got {what}")
        )
    return read_node(node, (), origin_for, environ)


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise BadYamlError(f"more than {_MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    raise BadYamlError("a byte that is not UTF-8; save the file as UTF-8", line, column)


def _mend(error: OSError) -> str | None:
    return "name the file in it" if isinstance(error, IsADirectoryError) else None


def _only(problem: Problem) -> Draft:
    return Draft(problems=[problem])


def from_environment(environ: Mapping[str, str]) -> Draft:
    """Read every variable that begins with CHATMESH_. One that means no key is a problem."""
    layer = Draft()
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in RESERVED and not _is_service_link(name, environ[name]):
            layer.lay_over(_variable(name, environ[name]))
    return layer


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set the variable for a Service called chatmesh… (CHATMESH_SERVICE_HOST and the like)."""
    if "__" in name:
        return False
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)))


def _variable(name: str, text: str) -> Draft:
    place = tuple(name.removeprefix(PREFIX).lower().split("__"))
    origin = Origin("environment", name)
    known = place in all_keys() or (place[0] == "models" and len(place) > 1 and all(place))
    if not known or name != name.upper():
        # Compared without the prefix, which alone makes any two short names look alike.
        names = [key.environment.removeprefix(PREFIX) for key in all_keys().values()]
        near = did_you_mean(name.removeprefix(PREFIX), names, PREFIX)
        message = "expected CHATMESH_SECTION__KEY, got a name that is no key"
        return _only(Problem(dotted(place), name, message, near))
    return _from_text(text, place, origin)


def from_flags(overrides: Sequence[str], role: str | None, process_id: str | None) -> Draft:
    """Read the values of `--set`, the later over the earlier, then `--role` and `--id` over them."""
    layer = Draft()
    for override in overrides:
        layer.lay_over(_setting(override))
    if role is not None:
        layer.lay_over(_role(role))
    if process_id is not None:
        layer.lay_over(Draft({"id": process_id}, {("id",): Origin("flag", f"--id {_one_line(process_id)}")}))
    return layer


def _role(role: str) -> Draft:
    origin = Origin("flag", f"--role {_one_line(role)}")
    if role in ROLES:
        return Draft({"roles": list(ROLES[role])}, {("roles",): origin})
    message = f"expected one of {', '.join(ROLES)}, got {quoted(role)}"
    return _only(Problem("roles", origin.where, message, did_you_mean(role, ROLES)))


def _setting(override: str) -> Draft:
    match = re.match(rf"((?:{_KEY_PART.pattern})(?:\.(?:{_KEY_PART.pattern}))*)=", override)
    if match is None:
        # No more than a key's first characters are quoted: what follows may be a secret.
        start = re.match(r"[A-Za-z0-9_.]*", override)[0]  # type: ignore[index]
        return _only(Problem("", f"--set {start}…", "expected section.key=value, got something else"))
    place = tuple(part[1] if part[1] is not None else part[2] for part in _KEY_PART.finditer(match[1]))
    text = override[match.end() :]
    return _from_text(text, place, Origin("flag", f"--set {match[1]}={_shown(place, text)}"))


def _shown(place: tuple[str, ...], text: str) -> str:
    """Quote a flag's value only where a known key says that it is no secret."""
    kind = kind_at(place)
    if place[0] == "models":
        known = place[-1] == "provider"  # the others come with keys of models, which nobody wants to see
    else:
        known = kind in (Kind.TEXT, Kind.TEXTS) or (kind is Kind.OTHER and place in all_keys())
    harmless = (
        known and "@" not in text
    )  # an address may hold credentials, which is a problem, and no reason to print them
    return _one_line(text) if harmless else "***"


def _one_line(text: str) -> str:
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


def _from_text(text: str, place: tuple[str, ...], origin: Origin) -> Draft:
    """Read one value of the environment or a flag: as YAML, but as it stands for a key that wants text."""
    try:
        node = _text_node(text, kind_at(place)) or compose(text) or yaml.ScalarNode(_STR, "")
    except BadYamlError as error:
        return _only(Problem(dotted(place), origin.where, f"expected a YAML value, got {error}"))
    return read_node(node, place, lambda _mark: origin, None)


_STR = "tag:yaml.org,2002:str"


def _text_node(text: str, kind: Kind) -> yaml.ScalarNode | None:
    """Give the node of text that is not to be parsed, or None for what is YAML.

    A secret is verbatim: `#`, quotes and blanks belong to it, and only null, ~ or nothing at all is null. Other text
    loses the blanks around it; quotes and lists are YAML there.
    """
    if kind is Kind.SECRET:
        return yaml.ScalarNode(_STR, text)
    stripped = text.strip()
    if kind is Kind.TEXT and stripped[:1] not in ("'", '"', "[", "{"):
        return yaml.ScalarNode(_STR, stripped)
    if kind is Kind.TEXTS and stripped[:1] not in ("'", '"', "["):
        return yaml.ScalarNode(_STR, stripped)
    return None
