"""A small part of `make fuzz`, of the same seeds each time."""

import pytest

from tests.fuzz import definitions, http, records, replays, statements


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_collector_answers_and_accounts_for_whatever_it_is_sent(seed: int) -> None:
    seen = await http.fuzz(seed, 1_500)
    assert seen["200"] > 300


@pytest.mark.parametrize("seed", [1, 2])
async def test_steps_and_feeds_survive_any_record(seed: int) -> None:
    seen = await records.fuzz(seed, 4_000)
    assert seen["accept quarantined"] > 0
    assert seen["unify quarantined"] > 0


async def test_any_record_in_quarantine_is_sent_again_or_refused() -> None:
    seen = await replays.fuzz(1, 4_000)
    assert min(seen["sent"], seen["refused"], seen["not mended"]) > 200


async def test_followers_and_commands_survive_any_record_of_definitions() -> None:
    seen = await definitions.fuzz(1, 1_000)
    assert min(seen["in force"], seen["cannot be read"]) > 10


@pytest.mark.clickhouse
async def test_no_statement_of_a_reader_changes_ends_or_reads_what_it_may_not() -> None:
    seen = await statements.fuzz(1, 150)
    assert min(seen["200"], seen["403"]) > 5
