"""The table of what each process does on the broker, beside the registers of topics, agents and feeds."""

from consumers.feeds import FEEDS
from ops.quarantine.replay_decider import RECORD_TYPES
from schemas.kafka_access import ACCESS, OPERATOR, Right, rights_of
from schemas.topics import TOPICS
from streams.agents import AGENTS

BY_ROLE = {access.role: access for access in ACCESS}
NAMES = {topic.name for topic in TOPICS}


def test_every_topic_is_read_and_written_by_somebody_and_no_other_is_named() -> None:
    from_outside = {"touchpoints"}
    of_operators = {"definitions"}
    assert {topic for access in ACCESS for topic in access.reads} == NAMES
    assert {topic for access in ACCESS for topic in access.writes} | from_outside | of_operators == NAMES


def test_the_consumers_read_the_topics_of_their_feeds() -> None:
    assert set(BY_ROLE["consumers"].reads) == {feed.topic for feed in FEEDS}


def test_the_api_writes_to_every_topic_to_which_a_record_is_replayed() -> None:
    assert set(BY_ROLE["api"].writes) == {"touchpoints", "quarantine", *RECORD_TYPES}


def test_each_agent_has_its_group() -> None:
    assert set(BY_ROLE["streams"].groups) == set(AGENTS)


def test_a_right_names_one_topic_and_a_family_of_groups_by_its_beginning() -> None:
    rights = rights_of(BY_ROLE["activation"], "prod")
    assert Right("Read", "topic", "prod.memberships") in rights
    assert Right("Read", "group", "prod.activation.", is_prefix=True) in rights
    assert {right.operation for right in rights} == {"Read", "Write"}


def test_the_operator_has_no_right_outside_the_environment() -> None:
    assert all(right.name.startswith("prod.") for right in rights_of(BY_ROLE[OPERATOR], "prod"))
