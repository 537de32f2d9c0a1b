"""Memberships that are updated incrementally equal an evaluation from nothing, at any instant and in any order of events."""

import os

import pytest

from tests.support.rounds import rounds
from tests.support.segment_laws import SegmentWorld, check_all

ROUNDS = int(os.environ.get("ONEFOLD_LAWS_ROUNDS", "1"))
FIRST = int(os.environ.get("ONEFOLD_LAWS_SEED", "0"))
BLOCK = 30


@pytest.mark.parametrize("block", range(rounds(quick=6, thorough=20) * ROUNDS))
def test_memberships_are_a_function_of_the_events_and_the_instant(block: int) -> None:
    compared = 0
    for seed in range(FIRST + block * BLOCK, FIRST + (block + 1) * BLOCK):
        try:
            compared += check_all(SegmentWorld(seed))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    assert compared > BLOCK * 500
