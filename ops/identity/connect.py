"""The desk of the Onefold that a command is about, and what it reads for a preview."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ops import definitions_topic as definitions
from ops.identity.service import Desk
from ops.identity.audit import History
from runtime.lazy_connection import Lazy
from ops.identity.preview import load, names_of, preview, shape_preview, shown
from ops.connect import find, reached
from profile_store.connect import open_store
from warehouse.client import Warehouse
from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.errors import Invalid
from runtime.settings import Settings
from domain.definitions.kinds import BadDefinition, IdentityRules, load_yaml
from domain.identity.rules import IdentityRulesSpec, Rules


@asynccontextmanager
async def at_desk(data_dir: Path) -> AsyncIterator[Desk]:
    """A desk with the rules that are live now. ClickHouse is reached when it is needed."""
    settings, clock = find(data_dir), SystemClock()
    store = open_store(settings, clock)
    warehouse = Lazy(lambda: Warehouse.connect(settings), clock)
    try:
        async with KafkaBus(settings) as bus:
            rules = await live_rules(settings, bus)
            producer = Lazy(bus.producer, clock)
            try:
                yield Desk(settings, store, clock, lambda: rules, History(warehouse.get), producer.get)
            finally:
                await producer.aclose()
    finally:
        await warehouse.aclose()
        await store.aclose()


async def previewed(data_dir: Path, path: Path, limit: int) -> dict[str, Any]:
    """What the rules of a file would change. Raises Invalid when the file is none of identity rules."""
    spec = rules_of(path)
    async with reached(data_dir) as here:
        now = await live_rules(here.settings, here.bus)
        then = compiled(spec, here.settings)
        before, after = await load(here.warehouse, (now, then))
        made = await asyncio.to_thread(preview, (before, now), (after, then))
        names = await names_of(here.warehouse, shown(made, limit)) if made.shifts else {}
        return {"rules_now": now.version, "rules_then": then.version, **shape_preview(made, limit, names)}


async def live_rules(settings: Settings, bus: Bus) -> Rules:
    """The identity rules that are defined now."""
    try:
        found = (await definitions.live(settings, bus)).get("IdentityRules/default")
    except BadDefinition as error:
        raise Invalid(str(error), reason="bad_definition") from error
    return compiled(found.spec if isinstance(found, IdentityRules) else IdentityRulesSpec(), settings)


def compiled(spec: IdentityRulesSpec, settings: Settings) -> Rules:
    """Rules as they are used with these settings."""
    return Rules.of(spec, secret=settings.tenant_secret.get_secret_value().encode(), country=settings.default_country)


def rules_of(path: Path) -> IdentityRulesSpec:
    """The identity rules in a file. Raises Invalid that names the file and the cure."""
    try:
        found = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise Invalid(f"{path} does not exist", path=str(path), reason="missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read as UTF-8 text: {type(error).__name__}", path=str(path), reason="missing") from error
    except BadDefinition as error:
        raise Invalid(str(error), path=str(path), reason="bad_definition") from error
    rules = [definition.spec for definition in found if isinstance(definition, IdentityRules)]
    if len(rules) != 1:
        raise Invalid(
            f"{path} holds {len(rules)} definitions of kind IdentityRules: one is wanted", path=str(path), reason="bad_definition"
        )
    return rules[0]
