"""Requests that the OpenAPI document allows, and many that it forbids, get an answer that the document describes, never a 5xx."""

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks
from starlette.applications import Starlette

from collector.app import create_app
from runtime.bus.memory import MemoryBus
from runtime.clock import ManualClock
from runtime.metrics import Metrics
from runtime.settings import Settings
from tests.support.collector_harness import KEY, NOW_MS, known_sources

EXAMPLES = 10


async def the_app() -> Starlette:
    made, bus = Settings(), MemoryBus()
    await bus.create_topics({made.topic(name): (3, {}) for name in ("events", "quarantine")})
    return create_app(made, await bus.producer(), ManualClock(NOW_MS), known_sources(), Metrics())


load_all_checks()
APP = asyncio.run(the_app())
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
OPERATIONS_IN_SCHEMA: list[Any] = [
    operation_result.ok() for operation_result in SCHEMA.get_all_operations() if isinstance(operation_result, Ok)
]
OPERATIONS = {operation.label: operation for operation in OPERATIONS_IN_SCHEMA}
# Where no body and no query is asked for, nothing in them can be wrong.
WRONG = {name for name, operation in OPERATIONS.items() if operation.definition.raw.keys() & {"requestBody", "security"}}
# Events that cannot be kept are answered with 200 and named, so what is wrong in a body shows in `results`, not in the status.
NOT_OURS: Any = [checks.negative_data_rejection, checks.positive_data_acceptance]


@pytest.mark.parametrize(("label", "wrong"), [*((name, False) for name in OPERATIONS), *((name, True) for name in sorted(WRONG))])
def test_every_answer_matches_the_openapi_document(label: str, wrong: bool) -> None:
    mode = schemathesis.GenerationMode.NEGATIVE if wrong else schemathesis.GenerationMode.POSITIVE

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(OPERATIONS[label].as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(auth=(KEY, ""), excluded_checks=NOT_OURS)

    answered()
