"""Identity is a function of the set of events, decisions and rules: many random histories, each compared with a second opinion."""

import os

import pytest

from profile_store import identity
from tests.support.identity_histories import CROWDED_AT, check, random_history, run

ROUNDS = int(os.environ.get("ONEFOLD_LAWS_ROUNDS", "1"))
FIRST = int(os.environ.get("ONEFOLD_LAWS_SEED", "0"))
BLOCK = 500


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_NEIGHBOURS", CROWDED_AT)


@pytest.mark.parametrize("block", range(20 * ROUNDS))
async def test_clusters_profiles_and_the_warehouse_follow_from_the_set(block: int) -> None:
    for seed in range(FIRST + block * BLOCK, FIRST + (block + 1) * BLOCK):
        history = random_history(seed)
        try:
            await check(history, await run(history))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
