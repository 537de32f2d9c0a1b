"""The definitions topic: reading the definitions that are live, and making others live."""

from collections.abc import Iterable, Mapping

from domain.definitions.consistency import namespaces_of
from domain.definitions.kinds import AnyDefinition, IdentityRules, SegmentList, decode_definition, encode_definition
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from runtime.bus.compacted import read_to_end
from runtime.bus.port import Bus, Outgoing
from runtime.settings import Settings

DefinitionsByKey = dict[str, AnyDefinition]
"""`kind/name` → definition."""


async def read_live(settings: Settings, bus: Bus) -> DefinitionsByKey:
    """Return the definitions that are live: the last record of each key, without the removed ones.

    Raises Transient when the topic cannot be read to its end, InvalidDefinition for a record that is no definition.
    """
    topic = settings.topic("definitions")
    values = await read_to_end(bus, topic)
    return {key: decode_definition(value, f"definitions {key}") for key, value in values.items() if value}


def identity_rules_of(settings: Settings, definitions: DefinitionsByKey) -> CompiledIdentityRules:
    """Return the identity rules among these definitions, compiled with the settings; without a definition the default rules."""
    specs = (definition.spec for definition in definitions.values() if isinstance(definition, IdentityRules))
    spec = next(specs, None)
    return DEFAULT_RULES if spec is None else compile_identity_rules(settings, spec)


def compile_identity_rules(settings: Settings, spec: IdentityRulesSpec) -> CompiledIdentityRules:
    """Compile identity rules with the secret and the default country of the settings."""
    secret = settings.tenant_secret.get_secret_value().encode()
    return CompiledIdentityRules.from_spec(spec, secret=secret, country=settings.default_country)


async def write(settings: Settings, bus: Bus, definitions: Iterable[AnyDefinition]) -> int:
    """Make these definitions live, lists sealed; return the topic's next offset after them, 0 when there are none."""
    return await _send(settings, bus, {definition.key: encode_definition(definition) for definition in seal(settings, definitions)})


async def remove(settings: Settings, bus: Bus, key: str) -> int:
    """Remove a definition; return the topic's next offset after that."""
    return await _send(settings, bus, {key: None})


def seal(
    settings: Settings, definitions: Iterable[AnyDefinition], live: Mapping[str, AnyDefinition] | None = None
) -> list[AnyDefinition]:
    """Return the definitions with the values of lists replaced by hashes: no identifier may lie on the topic in the clear.

    The namespaces of lists are those of the identity rules among the definitions, else among the `live` ones. Raises
    InvalidDefinition for a value that is no identifier.
    """
    requested = list(definitions)
    namespaces = namespaces_of({**(live or {}), **{definition.key: definition for definition in requested}})
    secret, country = settings.tenant_secret.get_secret_value().encode(), settings.default_country
    return [
        definition.with_hashed_values(secret, country, namespaces) if isinstance(definition, SegmentList) else definition
        for definition in requested
    ]


async def _send(settings: Settings, bus: Bus, values: Mapping[str, bytes | None]) -> int:
    topic = settings.topic("definitions")
    producer = await bus.producer()
    try:
        sent_offsets = await producer.send([Outgoing(topic, value, key=key.encode()) for key, value in values.items()])
    finally:
        await producer.aclose()
    return max((offset + 1 for _, offset in sent_offsets), default=0)
