import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.intake.values import Unparsable, find_violation, loads
from schemas.reasons import Reason


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, 123456789012345678901234567890, -(10**400)])
@pytest.mark.parametrize("document", ['{"a": %s}', "[%s]", '{"a":[1,{"b":%s}]}', "%s"])
def test_integer_beyond_64_bits_keeps_its_digits_and_is_a_violation(number: int, document: str) -> None:
    value = loads((document % number).encode())
    assert value == json.loads(document % number)
    violation = find_violation(value)
    assert violation is not None
    assert (violation.reason, violation.description) == (Reason.WRONG_TYPE, "an integer beyond 64 bits")


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1, 9_223_372_036_854_775_807, 10**18])
def test_integer_of_64_bits_keeps_its_digits(number: int) -> None:
    assert loads(b'{"a": %d}' % number) == {"a": number}
    assert find_violation(number) is None


def test_long_runs_of_digits_in_texts_and_fractions_are_no_integers() -> None:
    raw = '{"id": "123456789012345678901234567890", "giá": 0.1234567890123456789012, "lớn": 1e300}'.encode()
    assert loads(raw) == {"id": "123456789012345678901234567890", "giá": 0.1234567890123456789012, "lớn": 1e300}
    assert find_violation(loads(raw)) is None


def test_integer_that_is_too_long_to_be_read_makes_the_document_unparsable() -> None:
    with pytest.raises(Unparsable):
        loads(b'{"a": ' + b"9" * 5_000 + b"}")


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_documents_are_read_as_the_standard_library_reads_them(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
