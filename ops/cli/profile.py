"""`onefold profile`."""

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.definitions.segment_plan import segment_plan_of
from ops import definitions_topic
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.cli.terminal import escape_controls
from ops.connect import find_settings
from ops.profile_reader import ProfileReader
from profile_store.connect import open_store
from runtime.bus.kafka import KafkaBus
from runtime.clock import SystemClock
from runtime.errors import Invalid

Identifier = Annotated[
    str, typer.Argument(metavar="IDENTIFIER", help="namespace:value, such as email:an@shop.vn, or a profile id", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(show)


def show(identifier: Identifier, *, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Show the profile of an identifier as it is now: identifiers, traits, counters, segments, accounts and household.

    Exit 1 when no event has named the identifier.
    """
    profile = asyncio.run(_read(identifier, data_dir))
    if profile is None:
        raise Invalid("no profile has this identifier", path="identifier", reason="unknown_profile")
    if as_json:
        typer.echo(json.dumps(profile, ensure_ascii=False))
    else:
        typer.echo("\n".join(map(escape_controls, profile_lines(profile))))


async def _read(identifier: str, data_dir: Path) -> dict[str, Any] | None:
    settings = find_settings(data_dir)
    store = open_store(settings, SystemClock())
    try:
        async with KafkaBus(settings, read_adopted=store.adopted_log) as bus:
            live_definitions = await definitions_topic.read_live(settings, bus)
        rules = definitions_topic.identity_rules_of(settings, live_definitions)
        plan = segment_plan_of(live_definitions.values())
        reader = ProfileReader(settings, store, lambda: rules, lambda: plan)
        return await reader.by_reference(identifier)
    finally:
        await store.aclose()


def profile_lines(profile: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a profile, in the words of the API."""
    yield f"Profile {profile['profile_id']}"
    yield f"  first seen {profile['first_seen']}, last seen {profile['last_seen']}"
    yield from _section("identifiers", [f"{item['namespace']}:{item['value']}" for item in profile["identifiers"]])
    yield from _section("traits", _pairs(profile["traits"], profile["public_traits"]))
    yield from _section("computed", _pairs(profile["computed"]))
    yield from _section("counters", [f"{name}: {count:,}" for name, count in profile["counters"].items()])
    yield from _section("not kept here", [f"about {count:,} {kind}" for kind, count in profile["dropped_names"].items()])
    yield from _section("segments", [f"{segment['name']}, since {segment['since']}" for segment in profile["segments"]])
    yield from _section("accounts", [f"{account['group_id']}, {account['members']:,} members" for account in profile["accounts"]])
    if profile["household"] is not None:
        yield f"household: {profile['household']['members']:,} members"


def _pairs(values: Mapping[str, Any], public: Collection[str] = ()) -> list[str]:
    """Return a line for each value, with a mark at those that no trusted source has given."""
    texts = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    return [f"{name}: {text}{' (public)' if name in public else ''}" for name, text in texts.items()]


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)
