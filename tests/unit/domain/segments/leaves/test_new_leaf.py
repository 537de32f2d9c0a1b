"""A new leaf is one class and one entry of the table: a leaf that the product does not have goes through the whole language."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[5]
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    completed = subprocess.run(
        [sys.executable, "-m", "tests.support.segment_toy_leaf"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    parsed: dict[str, Any] = json.loads(completed.stdout)
    return parsed


def test_plan_feeds_and_evaluates_it(answers: dict[str, Any]) -> None:
    assert answers["affected"] == ["toy"]
    assert answers["is_member"] is True
    assert answers["next_change_ms"] == 1_000 + HOUR_MS


def test_sql_has_its_condition_and_its_values_as_parameters(answers: dict[str, Any]) -> None:
    assert "countIf(" in answers["sql"]
    assert "Toy Bought" not in answers["sql"]
    assert "Toy Bought" in answers["parameters"]


def test_explanation_has_its_words_its_evidence_and_when_it_turns(answers: dict[str, Any]) -> None:
    assert answers["text"] == "seen Toy Bought in the last 1h"
    assert answers["evidence"] == [1]
    assert answers["flips_at_ms"] == 1_000 + HOUR_MS


def test_bounds_name_its_place_and_its_limit(answers: dict[str, Any]) -> None:
    assert answers["bounds"] == [["where.not.not.seen", "toy limit 1"]]


def test_json_schema_describes_it_with_its_example(answers: dict[str, Any]) -> None:
    assert answers["schema"]["description"] == "The event was seen."
    assert answers["schema"]["examples"] == [{"event": "Toy Bought", "within": "1h"}]


def test_error_messages_speak_of_its_keys(answers: dict[str, Any]) -> None:
    assert answers["refusal"] == "test: spec.where.seen.evnt: unknown key: did you mean `event`?"
