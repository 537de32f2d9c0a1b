"""Connecting the identity service, and reading what a preview of identity rules needs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from domain.definitions.kinds import IdentityRules, InvalidDefinition, load_yaml
from domain.identity.rule_changes import compare_rules
from domain.identity.rules import CompiledIdentityRules, IdentityRulesSpec
from ops import definitions_topic
from ops.connect import connect, find_settings
from ops.identity.audit import IdentityHistory
from ops.identity.preview import load_evidence, preview_to_json, read_identifiers_of, shown_nodes
from ops.identity.service import IdentityService
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.errors import Invalid
from runtime.lazy_connection import LazyConnection
from runtime.settings import Settings
from warehouse.client import Warehouse


@asynccontextmanager
async def open_identity_service(data_dir: Path) -> AsyncIterator[IdentityService]:
    """Open the identity service with the live rules; ClickHouse and the producer are connected when they are needed."""
    settings, clock = find_settings(data_dir), SystemClock()
    store = open_store(settings, clock)
    warehouse = LazyConnection(lambda: Warehouse.connect(settings), clock)
    try:
        async with KafkaBus(settings, read_adopted=store.adopted_log) as bus:
            rules = await read_live_rules(settings, bus)
            producer = LazyConnection(bus.producer, clock)
            try:
                yield IdentityService(
                    settings=settings,
                    store=store,
                    clock=clock,
                    rules=lambda: rules,
                    history=IdentityHistory(warehouse.get),
                    producer=producer.get,
                )
            finally:
                await producer.aclose()
    finally:
        await warehouse.aclose()
        await store.aclose()


async def preview_rules_file(data_dir: Path, path: Path, limit: int) -> dict[str, Any]:
    """Compute what the rules of a file would change. Raises Invalid when the file has no identity rules, Transient."""
    spec = load_rules_file(path)
    async with connect(data_dir) as connection:
        current = await read_live_rules(connection.settings, connection.bus)
        proposed = definitions_topic.compile_identity_rules(connection.settings, spec)
        before, after = await load_evidence(connection.warehouse, (current, proposed))
        comparison = await asyncio.to_thread(compare_rules, (before, current), (after, proposed))
        identifiers = await read_identifiers_of(connection.warehouse, shown_nodes(comparison, limit)) if comparison.changes else {}
        return {"rules_now": current.version, "rules_then": proposed.version, **preview_to_json(comparison, limit, identifiers)}


async def read_live_rules(settings: Settings, bus: Bus) -> CompiledIdentityRules:
    """Read the live identity rules. Raises Invalid when the definition cannot be read, Transient."""
    return definitions_topic.identity_rules_of(settings, await definitions_topic.read_live(settings, bus))


def load_rules_file(path: Path) -> IdentityRulesSpec:
    """Read the identity rules of a file. Raises Invalid, which names the file and the cure."""
    try:
        documents = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise Invalid(f"{path} does not exist", path=str(path), reason="missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read as UTF-8 text: {type(error).__name__}", path=str(path), reason="missing") from error
    except InvalidDefinition as error:
        raise Invalid(str(error), path=str(path), reason="bad_definition") from error
    rules = [definition.spec for definition in documents if isinstance(definition, IdentityRules)]
    if len(rules) != 1:
        raise Invalid(
            f"{path} has {len(rules)} definitions of kind IdentityRules: leave exactly one", path=str(path), reason="bad_definition"
        )
    return rules[0]
