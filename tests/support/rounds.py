"""How often random tests repeat: few rounds in `make test`, many in `make laws`, `make chaos` and the nightly run.

A test that runs for fewer rounds keeps its assertions, its bounds and every case that is named; only the number of random examples
differs. `ONEFOLD_TEST_ROUNDS=thorough` asks for the many.
"""

import os
from typing import Final

from hypothesis import settings

PROFILE: Final = os.environ.get("ONEFOLD_TEST_ROUNDS", "quick")
"""`quick` or `thorough`."""


def rounds(*, quick: int, thorough: int) -> int:
    """Return how often to repeat in this run."""
    return {"quick": quick, "thorough": thorough}[PROFILE]


def load_hypothesis_profile() -> None:
    """Register and load hypothesis' profiles of the same names.

    No example is timed, since machines that run tests are shared. A quick run searches for half as many examples where a test names
    no number of its own.
    """
    settings.register_profile("quick", deadline=None, max_examples=50)
    settings.register_profile("thorough", deadline=None, max_examples=100)
    settings.load_profile(PROFILE)
