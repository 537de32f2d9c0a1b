"""One running Onefold for the tests that can share it: each counts what it adds, and uses names that no other test has."""

from collections.abc import Iterator

import pytest

from tests.support.shipped_command import Onefold, running_onefold


@pytest.fixture(scope="package")
def onefold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onefold]:
    """Start `onefold up` once, and stop it after the last test of this folder.

    A test that compares the whole store, or counts from zero, starts one of its own instead.
    """
    with running_onefold(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running
