"""`onefold definitions`: what lies on the topic of definitions, and what of it cannot be read."""

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from domain.definitions.topic_records import BadRecord
from ops import definitions_topic
from ops.cli.options import DEFAULT_DIR, AsJson, DataDir
from ops.connect import find_settings
from ops.definitions_topic import TopicDefinitions
from runtime.bus.kafka import KafkaBus
from runtime.errors import Invalid

OnlyBad = Annotated[bool, typer.Option("--bad", help="only the records that cannot be read, with the reason")]
Offsets = Annotated[
    list[int] | None,
    typer.Option("--bad", metavar="OFFSET", help="the offset of a record that cannot be read; for several, repeat it"),
]
ShownKeys = Annotated[
    list[str] | None, typer.Option("--key", help="the key of a record that cannot be read, as `list --bad` shows it")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="List the definitions on the topic, and remove records that cannot be read.", no_args_is_help=True)
    group.command("list")(list_records)
    group.command("remove")(remove_records)
    app.add_typer(group, name="definitions")


def list_records(*, bad: OnlyBad = False, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """List the definitions that are in force, and the records that cannot be read.

    A definition whose newest record cannot be read is not in force.
    """
    definitions = asyncio.run(_read(data_dir))
    if as_json:
        typer.echo(json.dumps(_to_json(definitions, with_live=not bad), ensure_ascii=False))
        return
    if not bad:
        for key in sorted(definitions.live):
            typer.echo(key)
    for record in definitions.bad:
        typer.echo(f"cannot be read: partition 0, offset {record.offset}, key {record.key}: {record.reason}")
    if bad and not definitions.bad:
        typer.echo("every record can be read")


def remove_records(*, bad: Offsets = None, key: ShownKeys = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DIR) -> None:
    """Remove records that cannot be read, whatever bytes their keys are.

    `onefold remove` removes a definition that is in force.
    """
    if not bad and not key:
        raise Invalid("name the records: --bad OFFSET or --key KEY, as `onefold definitions list --bad` shows them", path="bad")
    removed = asyncio.run(_remove(data_dir, bad or (), key or ()))
    if as_json:
        typer.echo(json.dumps({"removed": [_bad_to_json(record) for record in removed]}, ensure_ascii=False))
        return
    for record in removed:
        typer.echo(f"removed: offset {record.offset}, key {record.key}")


async def _read(data_dir: Path) -> TopicDefinitions:
    settings = find_settings(data_dir)
    async with KafkaBus(settings) as bus:
        return await definitions_topic.read_topic(settings, bus)


async def _remove(data_dir: Path, offsets: Collection[int], keys: Collection[str]) -> list[BadRecord]:
    settings = find_settings(data_dir)
    async with KafkaBus(settings) as bus:
        return await definitions_topic.remove_bad(settings, bus, offsets, keys)


def _to_json(definitions: TopicDefinitions, *, with_live: bool) -> dict[str, object]:
    live = [{"key": key, "offset": definitions.offsets[key]} for key in sorted(definitions.live)]
    return {**({"definitions": live} if with_live else {}), "bad": [_bad_to_json(record) for record in definitions.bad]}


def _bad_to_json(record: BadRecord) -> dict[str, object]:
    return {"partition": 0, "offset": record.offset, "key": record.key, "reason": record.reason}
