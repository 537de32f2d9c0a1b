"""The definitions topic: reading the definitions that are live, and making others live."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from domain.definitions.consistency import namespaces_of
from domain.definitions.kinds import RULES_KEY, AnyDefinition, IdentityRules, SegmentList, encode_definition
from domain.definitions.live import LiveDefinitions, UnreadableRules
from domain.definitions.topic_records import BadRecord, escape_text
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from runtime.bus.compacted import read_to_end
from runtime.bus.epochs import EPOCH_OFFSETS
from runtime.bus.port import Bus, Outgoing
from runtime.errors import Invalid, Transient
from runtime.settings import Settings

DefinitionsByKey = dict[str, AnyDefinition]
"""`kind/name` → definition."""


@dataclass(frozen=True, slots=True)
class TopicDefinitions:
    """What lies on the topic: the definitions in force, and the records that cannot be read.

    `keys` has the key of each record that lies there now, by its offset. `offsets` has the offset of each definition in force.
    """

    live: DefinitionsByKey
    bad: tuple[BadRecord, ...]
    offsets: Mapping[str, int]
    keys: Mapping[int, bytes]


async def read_topic(settings: Settings, bus: Bus) -> TopicDefinitions:
    """Return everything that lies on the topic, with Kafka's offsets. Raises Transient when it cannot be read to its end."""
    records = (await read_to_end(bus, settings.topic("definitions"))).values()
    definitions = LiveDefinitions()
    for record in sorted(records, key=lambda record: record.offset):
        definitions.apply(record.key, record.value, record.offset % EPOCH_OFFSETS)
    live = definitions.in_force()
    return TopicDefinitions(
        live,
        definitions.bad_records,
        {key: definitions.offset_of(key) for key in live},
        {record.offset % EPOCH_OFFSETS: record.key or b"" for record in records if record.value is not None},
    )


async def read_live(settings: Settings, bus: Bus, *, replaced: Collection[str] = ()) -> DefinitionsByKey:
    """Return the definitions in force: the last record of each key, without the removed ones and those that cannot be read.

    Raises Transient when the topic cannot be read to its end. Raises Invalid when the identity rules cannot be read, since what a
    command decided by other rules would be wrong, unless they are among the `replaced` keys.
    """
    definitions = await read_topic(settings, bus)
    if RULES_KEY not in replaced and any(record.key == RULES_KEY for record in definitions.bad):
        raise Invalid(str(UnreadableRules()), path=RULES_KEY, reason="bad_definition")
    return definitions.live


def readable_rules(definitions: LiveDefinitions) -> CompiledIdentityRules:
    """Return the identity rules in force. Raises Transient while they cannot be read, for they may be replaced at any time."""
    try:
        return definitions.rules
    except UnreadableRules as error:
        raise Transient(str(error)) from None


def identity_rules_of(settings: Settings, definitions: DefinitionsByKey) -> CompiledIdentityRules:
    """Return the identity rules among these definitions, compiled with the settings; without a definition the default rules."""
    specs = (definition.spec for definition in definitions.values() if isinstance(definition, IdentityRules))
    spec = next(specs, None)
    return DEFAULT_RULES if spec is None else compile_identity_rules(settings, spec)


def compile_identity_rules(settings: Settings, spec: IdentityRulesSpec) -> CompiledIdentityRules:
    """Compile identity rules with the secret and the default country of the settings."""
    secret = settings.tenant_key
    return CompiledIdentityRules.from_spec(spec, secret=secret, country=settings.default_country)


async def write(settings: Settings, bus: Bus, definitions: Iterable[AnyDefinition]) -> int:
    """Make these definitions live, lists sealed; return the topic's next offset after them, 0 when there are none."""
    return await _send(
        settings, bus, {definition.key.encode(): encode_definition(definition) for definition in seal(settings, definitions)}
    )


async def remove(settings: Settings, bus: Bus, key: str) -> int:
    """Remove a definition; return the topic's next offset after that."""
    return await _send(settings, bus, {key.encode(): None})


async def remove_bad(settings: Settings, bus: Bus, offsets: Collection[int], keys: Collection[str]) -> list[BadRecord]:
    """Remove records that cannot be read, by their offset or by their key as `BadRecord` shows it, and return them.

    Offsets may be those of Kafka or, as log lines have them, those that count on from log to log. Raises Invalid, and removes
    nothing, when one of them is not among the records that cannot be read.
    """
    definitions = await read_topic(settings, bus)
    offsets = {offset % EPOCH_OFFSETS for offset in offsets}
    chosen = [record for record in definitions.bad if record.offset in offsets or record.key in keys]
    missing = [
        *(f"offset {offset}" for offset in sorted(offsets - {record.offset for record in chosen})),
        *(f"key {escape_text(key)}" for key in sorted(set(keys) - {record.key for record in chosen})),
    ]
    if missing:
        raise Invalid(
            f"{', '.join(missing)}: no such record among those that cannot be read: see `onefold definitions list --bad`; "
            "`onefold remove KIND/NAME` removes a definition that is in force",
            path="bad",
            reason="missing",
        )
    await _send(settings, bus, dict.fromkeys((definitions.keys[record.offset] for record in chosen), None))
    return chosen


def seal(
    settings: Settings, definitions: Iterable[AnyDefinition], live: Mapping[str, AnyDefinition] | None = None
) -> list[AnyDefinition]:
    """Return the definitions with the values of lists replaced by hashes: no identifier may lie on the topic in the clear.

    The namespaces of lists are those of the identity rules among the definitions, else among the `live` ones. Raises
    InvalidDefinition for a value that is no identifier.
    """
    requested = list(definitions)
    namespaces = namespaces_of({**(live or {}), **{definition.key: definition for definition in requested}})
    secret, country = settings.tenant_key, settings.default_country
    return [
        definition.with_hashed_values(secret, country, namespaces) if isinstance(definition, SegmentList) else definition
        for definition in requested
    ]


async def _send(settings: Settings, bus: Bus, values: Mapping[bytes, bytes | None]) -> int:
    topic = settings.topic("definitions")
    producer = await bus.producer()
    try:
        sent_offsets = await producer.send([Outgoing(topic, value, key=key) for key, value in values.items()])
    finally:
        await producer.aclose()
    return max((offset + 1 for _, offset in sent_offsets), default=0)
