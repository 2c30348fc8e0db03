"""Is this broker fit for chatmesh, and which promises hold on it? Changes nothing.

In: a broker that is connected, or why there is none. Out: findings, and the promises as they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.broker import Broker
from chatmesh.config import Config
from chatmesh.errors import BrokerError, Exit, JetStreamMissingError
from chatmesh.operate.checks import check
from chatmesh.operate.findings import Finding, State
from chatmesh.operate.promises import Promise, judge
from chatmesh.operate.survey import survey


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, and the exit code that it means."""

    findings: tuple[Finding, ...]
    promises: tuple[Promise, ...]
    exit_code: Exit

    @property
    def is_fit(self) -> bool:
        return self.exit_code is Exit.OK


async def examine(broker: Broker, config: Config) -> Diagnosis:
    """As the user of this connection; the permissions of the configuration's roles are tried. Raises BrokerError where
    the broker goes away meanwhile."""
    facts = await survey(broker, config.roles, config.process_id)
    findings = check(facts, config)
    if facts.has_jetstream is False:
        return _diagnosis(findings, config, JetStreamMissingError.exit_code)
    is_fit = all(finding.state is not State.FAIL for finding in findings)
    return _diagnosis(findings, config, Exit.OK if is_fit else Exit.FAILED)


def without_broker(error: BrokerError, config: Config) -> Diagnosis:
    """What is to be said where there is no connection: why, and that nothing else could be checked."""
    found = f"{error.what}, at {error.where}" if error.where else error.what
    findings = [
        Finding("broker", State.FAIL, found, error.mend),
        Finding("everything else", State.UNKNOWN, "not checked: there is no connection"),
    ]
    return _diagnosis(findings, config, error.exit_code)


def _diagnosis(findings: list[Finding], config: Config, exit_code: Exit) -> Diagnosis:
    return Diagnosis(tuple(findings), tuple(judge(findings, config)), exit_code)
