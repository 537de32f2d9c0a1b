"""The command line as people and scripts call it, without a stack."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ops.cli.sql import check_statement
from ops.quarantine.entries import QuarantineQuery, check_filters
from runtime.errors import Invalid
from schemas.quarantine import STAGES
from streams.agents import AGENTS

ROOT = Path(__file__).parents[4]


def onefold(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "ops.cli.main", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, timeout=120, env={**os.environ, **variables})


def test_the_version_is_that_of_the_package() -> None:
    assert onefold("--version").stdout.decode() == f"onefold {version('onefold')}\n"


@pytest.mark.parametrize("arguments", [("-h",), ("status", "-h"), ("segments", "why", "-h")])
def test_h_asks_for_help_everywhere(arguments: tuple[str, ...]) -> None:
    completed = onefold(*arguments)
    assert completed.returncode == 0
    assert b"Usage: " in completed.stdout


def test_a_terminal_of_another_encoding_ends_no_command(tmp_path: Path) -> None:
    (tmp_path / "hỏng.yaml").write_text("kind: Nonsense")
    completed = onefold("status", "--data-dir", str(tmp_path / "dữ liệu"), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert completed.returncode == 1
    assert completed.stderr.startswith(b"onefold: nothing runs in ")
    assert b"d\\u1eef li\\u1ec7u" in completed.stderr


def test_an_unknown_variable_ends_a_command_before_anything_is_asked(tmp_path: Path) -> None:
    completed = onefold("account", "--data-dir", str(tmp_path), ONEFOLD_KAFKA_BOOTSTRAPS="x:9092")
    assert completed.returncode == 1
    assert completed.stderr.decode().startswith("onefold: ONEFOLD_KAFKA_BOOTSTRAPS is no variable of Onefold: did you mean")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("", "the statement is empty"),
        ("  -- chỉ là ghi chú\n;", "the statement is empty"),
        ("SELECT 1 FORMAT JSON", "leave FORMAT out of the statement, and say --format JSON"),
        ("select 1 format TSV;", "say --format TSV"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
    ],
)
def test_sql_explains_what_it_does_not_take(statement: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_statement(statement)
    assert words in str(caught.value)


@pytest.mark.parametrize("statement", ["SELECT 'FORMAT JSON'", "SELECT format FROM t;", "SELECT 'không đóng"])
def test_sql_leaves_other_statements_to_clickhouse(statement: str) -> None:
    assert check_statement(statement) == statement.rstrip(";")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (QuarantineQuery(reason="wrong_typ"), "did you mean wrong_type?"),
        (QuarantineQuery(stage="colector"), "did you mean collector?"),
        (QuarantineQuery(state="x"), "there are open, replayed, discarded, all"),
    ],
)
def test_filters_that_fit_no_record_are_refused_with_the_nearest(query: QuarantineQuery, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_filters(query)
    assert words in str(caught.value)


def test_every_stream_agent_is_a_stage() -> None:
    assert set(AGENTS) <= set(STAGES)
    check_filters(QuarantineQuery(reason="poison", stage="unify"))
