"""The documents about the topics' records: the page `records.md`, JSON Schemas and the AsyncAPI document."""

import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from runtime.settings import Settings
from schemas.catalogue import RECORDS_BY_TOPIC
from schemas.struct_schemas import struct_schemas
from schemas.topics import TOPICS, Topic

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
RECORD_TYPES: Final = {record.__name__: record for records in RECORDS_BY_TOPIC.values() for record in records}
_CALL: Final = {"type": "object", "description": "A call as a client sends it: see openapi/collector.json and touchpoints.md."}
_DEFINITION: Final = {"type": "object", "description": "A definition as a document: see schemas/definition.json."}
_INTRODUCTION: Final = """What Onefold writes to its topics, field by field. Values are JSON, instants epoch milliseconds (`_ms`).
Each record has the `version` of its schema: readers accept every earlier version and quarantine a later one with the reason
`unknown_version`. New fields are optional. The same descriptions for tools: [asyncapi.json](asyncapi.json) (AsyncAPI 3).
"""


def _schema(record: type[msgspec.Struct], ref_template: str = "#/$defs/{name}") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON Schema of a record, and those of the types that it refers to, by name."""
    (reference,), components = struct_schemas([record], ref_template)
    name = reference["$ref"].rpartition("/")[2]
    own = components.pop(name)
    paragraphs = inspect.cleandoc(record.__doc__ or "").split("\n\n")
    own["description"] = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    return own, components


def record_schema(name: str) -> str:
    """Return the JSON Schema (2020-12) of the record kind of that name, as text."""
    own, components = _schema(RECORD_TYPES[name])
    schema = {"$schema": DIALECT, **own} | ({"$defs": components} if components else {})
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _type_text(schema: Mapping[str, Any]) -> str:
    """Return a field's type in few words: `text`, `whole number`, `list of (text, text)`."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(_type_text(option) for option in schema["anyOf"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    match schema.get("type"):
        case "string":
            return "text"
        case "integer":
            return "whole number"
        case "boolean":
            return "boolean"
        case "array" if "prefixItems" in schema:
            return f"({', '.join(_type_text(item) for item in schema['prefixItems'])})"
        case "array":
            return f"list of {_type_text(schema['items'])}"
        case "object":
            values = schema.get("additionalProperties")
            return f"object of {_type_text(values)}" if values else "object"
        case _:
            return "any JSON value"


def _record_section(record: type[msgspec.Struct]) -> str:
    own, _ = _schema(record)
    required = set(own.get("required", ()))
    lines = [f"### {record.__name__}\n", own["description"] + "\n", "| Field | Type | Meaning |", "| --- | --- | --- |"]
    for name, field in own["properties"].items():
        optional = "" if name in required else f" Optional; default `{json.dumps(field.get('default'), ensure_ascii=False)}`."
        meaning = field.get("description", "Tells the kinds of records of this topic apart." if "enum" in field else "")
        lines.append(f"| `{name}` | {_type_text(field)} | {meaning}{optional} |".replace("||", "&#124;"))
    return "\n".join(lines) + f"\n\nJSON Schema: [schemas/records/{record.__name__}.json](schemas/records/{record.__name__}.json)\n"


def records_page(notice: str) -> str:
    """Return the page of all records, by topic; `notice` says that it is generated."""
    parts = [
        "# Records\n\n" + notice.rstrip("\n") + "\n",
        _INTRODUCTION,
    ]
    for topic in TOPICS:
        parts.append(f"## `{topic.name}`\n\nKey: {topic.key}. {topic.description[:1].upper()}{topic.description[1:]}.\n")
        if topic.name == "touchpoints":
            parts.append(
                "One call in JSON, or several as JSON lines or a JSON list: see [touchpoints](touchpoints.md#records-on-kafka).\n"
            )
        elif topic.name == "definitions":
            parts.append("One definition as a document: see its [JSON Schema](schemas/definition.json).\n")
        parts.extend(_record_section(record) for record in RECORDS_BY_TOPIC.get(topic.name, ()))
    return "\n".join(parts)


def _message(topic: Topic, name: str, payload: Mapping[str, Any], summary: str) -> dict[str, Any]:
    key = {"kafka": {"key": {"type": "string", "description": topic.key}}} if topic.key != "none" else {}
    bindings = {"bindings": key} if key else {}
    return {"name": name, "summary": summary, "contentType": "application/json", "payload": payload, **bindings}


def _messages(topic: Topic, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the messages of a channel by name, and add the schemas that they refer to to `schemas`."""
    if topic.name == "touchpoints":
        return {"Touchpoint": _message(topic, "Touchpoint", _CALL, topic.description)}
    if topic.name == "definitions":
        return {"Definition": _message(topic, "Definition", _DEFINITION, topic.description)}
    messages = {}
    for record in RECORDS_BY_TOPIC[topic.name]:
        own, components = _schema(record, "#/components/schemas/{name}")
        schemas |= {record.__name__: own, **components}
        payload = {"$ref": f"#/components/schemas/{record.__name__}"}
        messages[record.__name__] = _message(topic, record.__name__, payload, own["description"].partition("\n")[0])
    return messages


def asyncapi_document() -> str:
    """Return the AsyncAPI 3 document of all topics as text: Onefold receives touchpoints and sends everything else."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for topic in TOPICS:
        messages = _messages(topic, schemas)
        channels[topic.name] = {
            "address": Settings().topic(topic.name),
            "description": f"{topic.description}. Written by: {topic.written_by}. Read by: {topic.read_by}.",
            "messages": messages,
            "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [dict(topic.config).get("cleanup.policy", "delete")]}}},
        }
        action = "receive" if topic.name == "touchpoints" else "send"
        operations[f"{action}-{topic.name}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic.name}"},
            "messages": [{"$ref": f"#/channels/{topic.name}/messages/{name}"} for name in messages],
        }
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Onefold's topics",
            "version": "1",
            "description": "The records on Onefold's Kafka topics. Addresses begin with the environment, by default `onefold`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas},
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
