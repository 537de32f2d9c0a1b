"""A topic is missing only if the broker says so, and goes on saying so: not because an answer took long."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import LeaderNotAvailableError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from runtime.bus.kafka_admin import KafkaAdmin
from runtime.errors import Misconfigured, Permanent, Transient

UNKNOWN, NO_LEADER_YET, FORBIDDEN = (
    error.errno for error in (UnknownTopicOrPartitionError, LeaderNotAvailableError, TopicAuthorizationFailedError)
)


def answer(error_code: int = 0, leaders: Sequence[int] = ()) -> list[dict[str, Any]]:
    partitions = [{"partition": number, "leader": leader} for number, leader in enumerate(leaders)]
    return [{"topic": "t", "error_code": error_code, "partitions": partitions}]


GOOD = answer(leaders=(1, 1))


class ScriptedBroker:
    """A broker that gives these answers about its topics, the last one for ever; each takes `answer_s` on the clock."""

    def __init__(self, *answers: list[dict[str, Any]], answer_s: float) -> None:
        self._answers, self._answer_s, self.now_s = list(answers), answer_s, 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    async def describe_topics(self, _: list[str]) -> list[dict[str, Any]]:
        self.now_s += self._answer_s
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def admin_of(broker: Any) -> KafkaAdmin:
    admin = KafkaAdmin({}, 1, 5, monotonic_s=broker.monotonic_s)
    admin._client = admin._inspector = broker
    return admin


@pytest.mark.parametrize("late", [answer(UNKNOWN), answer(NO_LEADER_YET), answer(leaders=(1, -1)), answer(), []])
async def test_answer_that_took_long_is_asked_for_once_more(late: list[dict[str, Any]]) -> None:
    assert await admin_of(ScriptedBroker(late, GOOD, answer_s=10)).partitions(["t"]) == {"t": [0, 1]}


@pytest.mark.parametrize("said", [answer(UNKNOWN), []])
async def test_topic_that_the_broker_does_not_know_is_missing(said: list[dict[str, Any]]) -> None:
    with pytest.raises(Permanent, match="topic t does not exist"):
        await admin_of(ScriptedBroker(said, answer_s=1)).partitions(["t"])


@pytest.mark.parametrize("said", [answer(NO_LEADER_YET), answer(leaders=(1, -1)), answer()])
async def test_topic_without_leaders_exists(said: list[dict[str, Any]]) -> None:
    with pytest.raises(Transient, match="leader"):
        await admin_of(ScriptedBroker(said, answer_s=1)).partitions(["t"])


async def test_topic_that_was_just_created_is_waited_for() -> None:
    with pytest.raises(Transient, match="topic t"):
        await admin_of(ScriptedBroker(answer(UNKNOWN), answer_s=1)).partitions(["t"], must_exist=True)


async def test_topic_that_may_not_be_seen_is_not_missing() -> None:
    with pytest.raises(Misconfigured, match="topic t"):
        await admin_of(ScriptedBroker(answer(FORBIDDEN), answer_s=1)).partitions(["t"])
