"""Reading one record of the topic `definitions`, whatever bytes it has.

Anybody with access to Kafka can write to the topic, and so can a later version of Onefold. Therefore every reader of it, process or
command, judges a record by `decode_record`, so that all of them agree on which records count. A record that cannot be read ends no
process: it is skipped and named by a `BadRecord`, and an operator can remove it by its offset.

A definition is in force by the newest record of its key alone. When that record cannot be read, the definition is not in force, as
if it had been removed. An earlier record must not take its place: compaction removes that one at some time, and processes that
started before and after would work by different definitions.

Invariant: reading raises nothing but InvalidDefinition, and its cost is bounded. The texts name what is wrong, never a value.

Example: under the key `Segment/vip` lies `{"apiVersion": "onefold/v2", …}`. The reason names `apiVersion`, and the segment `vip`
does not exist until it is applied again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from domain.definitions.kinds import DEFINITION_ADAPTER, AnyDefinition, InvalidDefinition, check_segment_size
from domain.definitions.yaml_text import DocumentTooLarge, check_document_size

MAX_KEY_BYTES: Final = 128
"""The longest key that a definition can have, `IdentityRules/…`, has 77."""
MAX_VALUE_BYTES: Final = 1024 * 1024
"""The largest definition, a list of 5,000 customers, has a fifth of that."""
SHOWN_KEY_CHARS: Final = 80
_SHOWN_PATH_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be read and is the newest of its key. `key` is for people: escaped, and cut when it is long."""

    offset: int
    key: str
    reason: str


def decode_key(key: bytes | None) -> str:
    """Return the key of a record, `kind/name`. Raises InvalidDefinition."""
    if not key:
        raise InvalidDefinition("the record has no key: a definition lies under its kind and name")
    if len(key) > MAX_KEY_BYTES:
        raise InvalidDefinition(f"the key has {len(key):,} bytes: no definition has a key of more than {MAX_KEY_BYTES}")
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise InvalidDefinition("the key is not UTF-8") from None


def decode_record(name: str, value: bytes) -> AnyDefinition:
    """Return the definition of a record whose key is `name`. Raises InvalidDefinition."""
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidDefinition(f"the value has {len(value):,} bytes: no definition has more than {MAX_VALUE_BYTES:,}")
    try:
        document = msgspec.json.decode(value)
        check_segment_size(document)
        check_document_size(document)
        definition = DEFINITION_ADAPTER.validate_json(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidDefinition("the value is not JSON") from None
    except DocumentTooLarge as error:
        raise InvalidDefinition(str(error)) from None
    except ValidationError as error:
        raise InvalidDefinition(_describe(error)) from None
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        # A check of a field met a value that it does not expect. No process may end by that.
        raise InvalidDefinition(f"not a definition that can be used ({type(error).__name__})") from None
    if definition.key != name:
        raise InvalidDefinition("the record defines something else than its key names: write it under its own key")
    return definition


def describe_key(key: bytes | None) -> str:
    """Return a key for people: at most SHOWN_KEY_CHARS characters, without control characters, its size when it was cut."""
    raw = key or b""
    text = escape_text(raw[: 4 * SHOWN_KEY_CHARS].decode(errors="backslashreplace"))
    return text if len(text) <= SHOWN_KEY_CHARS else f"{text[:SHOWN_KEY_CHARS]}… ({len(raw):,} bytes)"


def escape_text(text: str) -> str:
    """Return the text with everything that is not printable as an escape, so that it moves no cursor and breaks no line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text)


def _describe(error: ValidationError) -> str:
    """Return what is wrong with a value: the first fault, by the kind of it and its place."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    first = errors[0]
    if first["type"] == "json_invalid":
        return "the value is not JSON"
    if any(fault["loc"][-1:] == ("apiVersion",) for fault in errors):
        return "apiVersion: another than onefold/v1: was it written by another version of Onefold?"
    if first["type"].startswith("union_tag") and not first["loc"]:
        return "kind: none that this version has"
    return f"not a definition that this version reads: {_describe_path(first)}"


def _describe_path(fault: Mapping[str, Any]) -> str:
    path = escape_text(".".join(str(part) for part in fault["loc"])[:_SHOWN_PATH_CHARS])
    return f"{path}: {fault['type']}" if path else str(fault["type"])
