"""A step whose worker has read fewer definitions than the stored state needs waits, and decides nothing."""

import pytest

from domain.segments.plan import SegmentPlan
from profile_store.memory import MemoryStore
from profile_store.port import DEFINITIONS_PARTITION, TopicPartition, Writes
from runtime.bus.port import Record
from runtime.clock import ManualClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import GroupRecord, Touched
from streams.step import Step
from streams.steps.group import GroupStep
from streams.steps.segment import SegmentStep
from streams.steps.unify import UnifyStep
from tests.support.events import event

RECORDS = {
    "events": encode(event({"user_id": "u1"}, id="m1")),
    "touched": encode(Touched(profile_id="p", node="p", cause="event", at_ms=1)),
    "groups": encode(GroupRecord(group_id="a1", kind="account", name="Ánh")),
}


@pytest.mark.parametrize("kind", [UnifyStep, SegmentStep, GroupStep])
async def test_step_waits_for_the_required_definitions_offset(kind: type) -> None:
    store, definitions_offset = MemoryStore(ManualClock()), [6]
    step: Step = kind(Settings(), store, lambda: SegmentPlan(), definitions_offset=lambda: definitions_offset[0])
    await store.save(DEFINITIONS_PARTITION, None, 7, Writes())
    partition, records = TopicPartition(step.topic, 0, 1), [Record(step.topic, 0, 0, 1, b"k", RECORDS[step.topic])]
    assert (await step.run(partition, records, 1)).paused
    definitions_offset[0] = 7
    await store.fence_writers(partition)
    outcome = await step.run(partition, records, 1)
    assert outcome.paused is False
    assert outcome.fence == 1
