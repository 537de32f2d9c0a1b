"""Texts that cost minutes, hours or days before: each is read at a size that only a function of linear time reads to its end.

Nothing here measures a time. A function that goes back, or that copies what is left for each step, does not end within the time
limit of a test, which is some hundred times what the test takes. `make fuzz` measures the growth over all readers and attacks.
"""

import contextlib
import re
from typing import Final

import orjson
import pytest
import re2

from tests.fuzz import growth
from tests.fuzz.http import InvariantBroken
from tests.fuzz.text_readers import READERS, REFUSALS, Attack, attacks
from tests.support.collector_harness import KEY, collector_harness

MILLION: Final = 1_000_000
ATTACKS: Final = (
    ("runtime.logs", Attack("a")),
    ("runtime.logs", Attack("a.", behind="@")),
    ("runtime.redaction", Attack("a://")),
    ("domain.letters NFC", Attack("\u0301\u0316", before="a")),
    ("domain.letters NFKC", Attack("\uff9e\u0334", before="a")),
    ("domain.letters NFD", Attack("\u0f73")),
    ("domain.identity.identifier_values text", Attack("'")),
    ("domain.identity.spreadsheet_values", Attack("' ")),
    ("domain.identity.identifier_values email", Attack("a", behind="@a.vn")),
    ("domain.identity.placeholders", Attack("@")),
    ("domain.intake.import_rows customers", Attack("a,", before="user_id,")),
    ("domain.intake.import_rows header", Attack("đường,phố,")),
    ("domain.intake.import_rows customers", Attack('"a","b",', before="user_id,email\n", behind='"x"y\n')),
    ("domain.intake.import_rows customers", Attack('"a" ', before="user_id,email\n", behind="\n")),
    ("domain.intake.import_rows lines", Attack("\u0301\u0316")),
    ("embedded.clickhouse.protocol", Attack(" ", behind="!")),
    ("embedded.clickhouse.protocol", Attack("(version 1")),
    ("embedded.clickhouse.lexer", Attack("'a' ")),
    ("schemas.write_keys", Attack("writekey=")),
    ("collector.client_address", Attack("1.")),
)


@pytest.mark.parametrize(("name", "attack"), ATTACKS, ids=[f"{name} {attack.repeated!a}" for name, attack in ATTACKS])
@pytest.mark.timeout(120)
def test_a_text_of_a_million_letters_is_read_to_its_end(name: str, attack: Attack) -> None:
    with contextlib.suppress(*REFUSALS):
        READERS[name](attack.text(MILLION))


@pytest.mark.timeout(120)
def test_a_property_of_marks_is_compared() -> None:
    READERS["domain.segments.comparisons"](Attack("\u0301\u0316", before="a").text(200_000))


@pytest.mark.timeout(120)
def test_a_file_of_open_quotation_marks_is_read_line_by_line() -> None:
    # Each mark stays open to the end of the file, and each next line looks like a row.
    READERS["domain.intake.import_rows customers"]("user_id,email\n" + 'a","b\nx,y\n' * 20_000)


@pytest.mark.timeout(120)
def test_an_order_of_rows_with_names_of_their_own_is_joined() -> None:
    def row(number: int) -> bytes:
        names = {f"n{number}-{name}": 1 for name in range(200)}
        return orjson.dumps({"order_id": "o", "time": "2025-06-15T10:00:00Z", "user_id": "u", **names})

    READERS["domain.intake.import_rows events"]("\n".join(row(number).decode() for number in range(600)) + "\n")


@pytest.mark.timeout(120)
async def test_small_requests_with_a_public_key_do_not_stop_the_collector() -> None:
    """Times of 80 letters took half a second each, and letters with endless marks a second."""
    slow_time = "10:00" + " " * 74 + "x"
    call = {"type": "track", "event": "a", "userId": "u", "timestamp": slow_time, "originalTimestamp": slow_time}
    marks = {"type": "track", "event": "a", "userId": "a" + "\u0301\u0316" * 4_000}
    async with collector_harness() as at:
        for batch in ([call] * 2_000, [marks] * 80):
            answer = await at.post("/v1/batch", {"batch": batch}, auth=(KEY, ""))
            assert answer.status_code == 200
            assert len(answer.json()["results"]) == len(batch)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_an_attack_or_answers(name: str) -> None:
    for attack in attacks():
        with contextlib.suppress(*REFUSALS):
            READERS[name](attack.text(80))


def test_the_measurement_finds_a_pattern_that_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "SHORT_CHARS", 500)
    with pytest.raises(InvariantBroken, match="16 times the text"):
        growth.measure("quadratic", re.compile("a+b").search, Attack("a"))
    growth.measure("linear", re2.compile("a+b").search, Attack("a"))
