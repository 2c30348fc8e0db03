"""`chatmesh doctor`: what is wrong with the broker, its mend, and which promises hold on it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from textwrap import indent

import orjson

from chatmesh.cli import table
from chatmesh.cli.settings import load_settings
from chatmesh.cli.short import ask
from chatmesh.config import Config
from chatmesh.errors import BrokerUnreachableError, NotAuthorisedError
from chatmesh.operate import doctor as operate
from chatmesh.operate.doctor import Diagnosis
from chatmesh.operate.findings import Finding, State
from chatmesh.operate.promises import Holds, Promise

_OF_STATE = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red", State.UNKNOWN: "yellow"}
_OF_HOLDS = {Holds.YES: "green", Holds.YES_BUT: "yellow", Holds.NO: "red", Holds.UNKNOWN: "yellow"}
_WIDTH = len("unknown") + 2


def doctor(namespace: argparse.Namespace) -> int:
    diagnosis = _examined(load_settings(namespace, role=namespace.role).config)
    if namespace.json:
        answer = {"fit": diagnosis.is_fit} | asdict(diagnosis)
        print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        print(_text(diagnosis))
    return diagnosis.exit_code


def _examined(config: Config) -> Diagnosis:
    try:
        return ask(config, partial(operate.examine, config=config), may_be_denied=True)
    except (BrokerUnreachableError, NotAuthorisedError) as error:
        return operate.without_broker(error, config)


def _text(diagnosis: Diagnosis) -> str:
    findings = "\n".join(map(_finding, diagnosis.findings))
    promises = "\n".join(map(_promise, diagnosis.promises))
    failed = sum(finding.state is State.FAIL for finding in diagnosis.findings)
    summary = "Nothing failed." if not failed else f"{failed} failed."
    return f"{findings}\n\nThe promises on this broker:\n\n{promises}\n\n{summary}"


def _finding(finding: Finding) -> str:
    return _entry(finding.state, _OF_STATE[finding.state], finding.check, finding.found, finding.mend)


def _promise(promise: Promise) -> str:
    head = f"{promise.name} {promise.text}"
    return _entry(promise.holds, _OF_HOLDS[promise.holds], head, promise.why, promise.change)


def _entry(word: str, colour: str, head: str, text: str | None, mend: str | None) -> str:
    """The mend only where something is to be mended."""
    lines = [head if text is None else f"{head}: {text}"]
    if mend is not None:
        lines.append(f"→ {mend}")
    padded = table.painted(word, colour) + " " * (_WIDTH + 1 - len(word))
    first, *rest = [table.plain(line) for line in lines]
    return "\n".join([padded + first, *(indent(line, " " * (_WIDTH + 1)) for line in rest)])
