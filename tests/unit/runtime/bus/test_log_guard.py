"""The guard of a bus, and the offsets of epochs."""

import pytest

from runtime.bus.epochs import EPOCH_OFFSETS, MAX_EPOCH, AdoptedLog, LogIdentity, first_offset, log_start
from runtime.bus.log_guard import LogGuard
from runtime.errors import AnotherLog, Misconfigured

OLD = LogIdentity("old", {"onefold.events": "1", "onefold.links": "2"})


class Stores:
    """What Kafka and a store answer, and how often Kafka was asked."""

    def __init__(self, actual: LogIdentity, adopted: AdoptedLog | None, secret_fingerprint: str = "") -> None:
        self.actual, self.adopted, self.asked = actual, adopted, 0
        self.guard = LogGuard(self.read_identity, self.read_adopted, secret_fingerprint)

    async def read_identity(self, _topics: object) -> LogIdentity:
        self.asked += 1
        return self.actual

    async def read_adopted(self) -> AdoptedLog | None:
        return self.adopted


async def test_the_log_that_the_store_belongs_to_is_asked_for_once() -> None:
    stores = Stores(OLD, AdoptedLog(2, OLD))
    await stores.guard.ensure()
    await stores.guard.ensure()
    assert (stores.asked, stores.guard.first_offset, stores.guard.problem) == (1, 2 * EPOCH_OFFSETS, "")


@pytest.mark.parametrize(
    "actual", [LogIdentity("new", OLD.topic_ids), LogIdentity("old", {**OLD.topic_ids, "onefold.links": "3"}), LogIdentity("", {})]
)
async def test_another_log_is_refused_until_it_is_adopted(actual: LogIdentity) -> None:
    stores = Stores(actual, AdoptedLog(0, OLD))
    with pytest.raises(AnotherLog, match="onefold adopt"):
        await stores.guard.ensure()
    assert stores.guard.problem
    assert not stores.guard.in_use
    stores.adopted = AdoptedLog(1, actual)
    await stores.guard.ensure()
    assert (stores.guard.first_offset, stores.guard.problem) == (EPOCH_OFFSETS, "")


async def test_a_log_that_changes_later_is_noticed() -> None:
    stores = Stores(OLD, AdoptedLog(0, OLD))
    await stores.guard.ensure()
    stores.actual = LogIdentity("new", {})
    with pytest.raises(AnotherLog):
        await stores.guard.verify()
    with pytest.raises(AnotherLog):
        await stores.guard.ensure()


async def test_a_store_that_knows_no_log_is_to_be_prepared() -> None:
    stores = Stores(OLD, None)
    with pytest.raises(AnotherLog, match="onefold prepare"):
        await stores.guard.ensure()


async def test_topics_that_only_one_of_them_has_make_no_other_log() -> None:
    stores = Stores(LogIdentity("old", {"onefold.events": "1", "onefold.new": "9"}), AdoptedLog(0, OLD))
    await stores.guard.ensure()


def test_every_offset_of_a_later_log_is_larger() -> None:
    assert first_offset(0) == 0
    assert first_offset(1) > EPOCH_OFFSETS - 1
    assert log_start(first_offset(5) + 41_000) == first_offset(5)
    assert first_offset(MAX_EPOCH) + EPOCH_OFFSETS == 2**53
    with pytest.raises(Misconfigured):
        first_offset(MAX_EPOCH + 1)


async def test_another_tenant_secret_than_the_one_that_filled_the_stores_is_refused_for_good() -> None:
    adopted = AdoptedLog(0, OLD, "fingerprint of the right one")
    with pytest.raises(Misconfigured, match=r"the tenant secret .* is not the one with which the stores were filled"):
        await Stores(OLD, adopted, "fingerprint of another one").guard.ensure()
    await Stores(OLD, adopted, "fingerprint of the right one").guard.ensure()


@pytest.mark.parametrize(("stored", "own"), [("", "a fingerprint"), ("a fingerprint", "")])
async def test_stores_of_before_and_processes_without_a_secret_are_let_in(stored: str, own: str) -> None:
    await Stores(OLD, AdoptedLog(0, OLD, stored), own).guard.ensure()
