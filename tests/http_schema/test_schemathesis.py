"""A running mesh against its own document: generated requests, good and bad, get documented answers and never a 5xx."""

from __future__ import annotations

import asyncio

import hypothesis
import pytest
import requests
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.config import GenerationConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.http_schema.meshes import code_of, schema_of
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.models import models

EXAMPLES = 15
"""Of each operation, good and bad ones each; the edge cases come on top."""

MOST_EDGE_CASES = 150

OF_STATE = {"idempotency_conflict", "unknown_model", "unknown_cursor", "session_busy", "unsupported"}
"""Codes that refuse what is well-formed. All others are of the form, so the document should have said it."""

SENTENCES = ("No worker serves the model", "Send messages", "Files can't be sent", "message_id")
"""How the same begin where they are told as a sentence."""

QUICKEST = (models("short"), "default_model=short")
"""Some calls wait for the whole answer."""

# Streams do not end; their parameters have tests of their own.
ENDLESS = {"getEvents", "getEventsOfSeveral", "getOpsEvents"}


def operations(schema: BaseSchema) -> list[APIOperation]:
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.definition.raw["operationId"] not in ENDLESS]


def accepts_what_is_well_formed(_context: CheckContext, response: Response, case: Case) -> None:
    """In the place of schemathesis' own check, which takes no 422 for a refusal by state."""
    if case.meta is not None and case.meta.generation.mode.is_positive and response.status_code in (400, 422):
        if "does not fit into 64 bits" in response.text:
            return  # a rule for all of the body that no schema says
        code = code_of(response)
        assert code in OF_STATE or (not code and response.text.startswith(SENTENCES)), response.text


def has_input(operation: APIOperation) -> bool:
    """Where nothing can be sent, or any text will do, nothing can be sent wrong."""
    narrow = [
        given for given in operation.iter_parameters() if given.definition["schema"] != {"type": "string"}
    ]
    return bool(narrow or list(operation.body))


def call(case: Case, session: requests.Session) -> None:
    case.call_and_validate(
        session=session,
        timeout=20,
        additional_checks=[accepts_what_is_well_formed],
        excluded_checks=[positive_data_acceptance],
    )


def call_edge_cases(schema: BaseSchema) -> int:
    """Each limit and each rule broken once; wrong methods and content types too. Returns how many there were."""
    asked = 0
    with requests.Session() as session:
        for operation in operations(schema):
            cases = schema.iter_coverage_cases(
                operation, generation_modes=list(GenerationMode), generation_config=GenerationConfig()
            )
            for case, _ in zip(cases, range(MOST_EDGE_CASES), strict=False):
                call(case, session)
                asked += 1
    return asked


def call_examples(operation: APIOperation, mode: GenerationMode) -> None:
    with requests.Session() as session:

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(operation.as_strategy(mode))
        def call_one(case: Case) -> None:
            call(case, session)

        call_one()


@pytest.mark.slow
async def test_edge_cases_get_documented_answers(broker: Broker) -> None:
    async with running(broker.url, *QUICKEST) as mesh:
        assert await asyncio.to_thread(call_edge_cases, schema_of(mesh)) > 100


async def test_an_undocumented_answer_is_found(broker: Broker) -> None:
    async with running(broker.url, role="pod") as mesh:
        schema = schema_of(mesh)
        del schema.raw_schema["paths"]["/v1/sessions"]["get"]["responses"]["200"]
        with pytest.raises(FailureGroup, match="Undocumented status code"):
            await asyncio.to_thread(call_examples, schema["/v1/sessions"]["GET"], GenerationMode.POSITIVE)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.slow
async def test_generated_requests_get_documented_answers(broker: Broker, mode: GenerationMode) -> None:
    async with running(broker.url, *QUICKEST) as mesh:
        for operation in operations(schema_of(mesh)):
            if mode is GenerationMode.NEGATIVE and not has_input(operation):
                continue
            await asyncio.to_thread(call_examples, operation, mode)
