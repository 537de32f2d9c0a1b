"""The published descriptions of the records: complete, and true of what is written."""

import json
import random

import msgspec
import pytest
from jsonschema import Draft202012Validator

from docs.topic_documents import RECORD_TYPES, asyncapi_document, record_schema
from schemas.catalogue import RECORDS_BY_TOPIC
from schemas.codec import encode
from schemas.topics import TOPICS
from tests.fuzz.records import MAKERS

DOCUMENTS = {"touchpoints", "definitions"}
"""Topics whose values are documents of people and clients, and no records of Onefold."""


def test_every_topic_names_its_records() -> None:
    assert RECORDS_BY_TOPIC.keys() | DOCUMENTS == {topic.name for topic in TOPICS}


@pytest.mark.parametrize("name", sorted(RECORD_TYPES))
def test_every_field_of_a_record_has_a_description(name: str) -> None:
    schema = json.loads(record_schema(name))
    fields = {field.encode_name for field in msgspec.structs.fields(RECORD_TYPES[name])}
    assert fields <= schema["properties"].keys()
    assert {field for field in fields if not schema["properties"][field].get("description")} == set()


@pytest.mark.parametrize("topic", sorted(RECORDS_BY_TOPIC))
def test_what_is_written_is_valid_by_the_published_schema(topic: str) -> None:
    rng = random.Random(topic)
    for _ in range(50):
        record = MAKERS[topic](rng)
        Draft202012Validator(json.loads(record_schema(type(record).__name__))).validate(json.loads(encode(record)))


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(asyncapi_document())
    for operation in document["operations"].values():
        for reference in (operation["channel"], *operation["messages"]):
            target = document
            for step in reference["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            assert target
    assert document["channels"].keys() == {topic.name for topic in TOPICS}
