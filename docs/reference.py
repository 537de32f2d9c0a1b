"""Write the reference pages that are made from the code: `python -m docs.reference`. A test compares them with the code."""

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr
from typer import Context, _click
from typer.core import TyperGroup

from api import openapi as api_openapi
from api.access import TokenGate
from api.app import Api
from collector.app import create_app
from collector.openapi import build_document
from collector.source_registry import Sources
from docs.topic_documents import RECORD_TYPES, asyncapi_document, record_schema, records_page
from domain.definitions.json_schema import definition_schema
from ops.cli.command_table import COMMANDS, load_command
from ops.profile_reader import ProfileReader
from profile_store.memory import MemoryStore
from runtime import metrics
from runtime.bus.memory import MemoryBus, MemoryProducer
from runtime.clock import SystemClock
from runtime.settings import Settings
from schemas.kafka_access import ACCESS, OPERATOR, Access, rights_of
from schemas.reasons import Reason
from schemas.topics import TOPICS

DOCS = Path(__file__).parent
_COMMANDS_BEGIN = "<!-- Commands: made from the command line by `python -m docs.reference`. -->\n\n"
_COMMANDS_END = "<!-- End of the commands. -->\n"
_GENERATED_NOTICE = "<!-- Made from the code by `python -m docs.reference`: change the code, not this page. -->\n\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"


_CONFIGURATION_INTRODUCTION = """A secret (a key, a token, a password, an address that may hold one) may come from a file:
`ONEFOLD_TENANT_SECRET_FILE` names the file of `ONEFOLD_TENANT_SECRET`, and so on. An empty variable of a file, user or password
counts as unset.

"""


def configuration() -> str:
    """Return the page of every setting: its variable, default and meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        secret = isinstance(field.default, SecretStr)
        default = "(secret)" if secret and name.endswith(("secret", "token")) else _plain(field.default)
        rows.append((f"`ONEFOLD_{name.upper()}`", f"`{default}`", field.description or ""))
    table = _table(("Variable", "Default", "Meaning"), rows)
    return "# Configuration\n\n" + _GENERATED_NOTICE + _CONFIGURATION_INTRODUCTION + table


def _plain(default: object) -> str:
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


_TOPICS_INTRODUCTION = """Names are prefixed with the environment: `onefold.events`. `touchpoints` is for other systems to write to
([how](touchpoints.md#records-on-kafka)), in any codec, with transactions or without.

**Reading our topics.** Onefold compresses its records with lz4. Java, librdkafka and its bindings, aiokafka, franz-go and Sarama
read lz4. KafkaJS does not by itself: register a codec package for `CompressionTypes.LZ4`, such as `kafkajs-lz4`, before the
consumer starts. Delivery is at least once: the offsets, ids and sequence numbers in the [records](records.md) tell a repetition.
No record belongs to a transaction.

"""


def topics() -> str:
    """Return the page of every topic of the register."""
    rows = [
        (
            f"`{topic.name}`",
            topic.key,
            topic.description,
            topic.written_by,
            topic.read_by,
            "1" if topic.is_single_partition else "`ONEFOLD_PARTITIONS`",
            ", ".join(f"`{key}={value}`" for key, value in topic.config),
        )
        for topic in TOPICS
    ]
    head = ("Topic", "Key", "What it says", "Written by", "Read by", "Partitions", "Configuration")
    return "# Topics\n\n" + _GENERATED_NOTICE + _TOPICS_INTRODUCTION + _table(head, rows)


_ACCESS_INTRODUCTION = """A broker with `StandardAuthorizer` forbids what no rule allows. Give each process a user of its own (in
`ONEFOLD_KAFKA_USER`, or by its certificate) and the rights below; names are those of the environment `onefold`. A test runs every
process with these rights, and none is denied anything.

- Onefold writes without transactions: no process needs a transactional id. To write a topic includes to write it idempotently.
- A right to read or write a topic, or to read in a group, includes the right to describe it.
- Other systems' producers need `Write` on `onefold.touchpoints`, and nothing else. Whoever may write to another topic may say
  anything to the processes that read it, so give that right to no other system. Readers of `profiles`, `memberships` or
  `identities` need `Read` on the topic and on a group of their own.
- `operator` is the user of the `onefold` command with `ONEFOLD_MODE=server`: of `prepare`, `apply`, `account`, `rebuild` and so on.

"""


def kafka_access() -> str:
    """Return the page of the rights on the broker."""
    rows = [
        (
            f"`{access.role}`",
            _topic_list(access.reads, access),
            _topic_list(access.writes, access),
            ", ".join(f"`onefold.{group}`" for group in access.groups) or "none",
        )
        for access in ACCESS
    ]
    table = _table(("User", "Reads", "Writes", "Consumer groups"), rows)
    commands = "\n".join(_access_commands(access) for access in ACCESS)
    return (
        f"# Rights on the broker\n\n{_GENERATED_NOTICE}{_ACCESS_INTRODUCTION}{table}\n"
        "The same as commands of Kafka's own tool. `$admin` stands for its options `--bootstrap-server` and `--command-config`.\n\n"
        f"```sh\n{commands}\n```\n"
    )


def _topic_list(topics: Sequence[str], access: Access) -> str:
    return "all; creates and alters them" if access.role == OPERATOR else ", ".join(f"`{topic}`" for topic in topics)


def _access_commands(access: Access) -> str:
    """Return one command for each resource of a user."""
    operations: dict[tuple[str, str, bool], list[str]] = {}
    for right in rights_of(access, "onefold"):
        operations.setdefault((right.resource, right.name, right.is_prefix), []).append(right.operation)
    return "\n".join(
        f"kafka-acls.sh $admin --add --allow-principal User:{access.role} "
        + " ".join(f"--operation {operation}" for operation in granted)
        + f" --{resource} {name}"
        + (" --resource-pattern-type prefixed" if is_prefix else "")
        for (resource, name, is_prefix), granted in operations.items()
    )


def reasons() -> str:
    """Return the page of every reason of the closed list."""
    return (
        "# Reasons\n\n"
        + _GENERATED_NOTICE
        + _table(("Reason", "What is wrong, and the cure"), [(f"`{r}`", r.explanation) for r in Reason])
    )


def metrics_page() -> str:
    """Return the page of every metric of the register."""
    return "# Metrics\n\n" + _GENERATED_NOTICE + metrics.documentation().rstrip() + "\n"


def collector_api() -> str:
    """Return the OpenAPI document of the collector's addresses."""
    app = create_app(Settings(), MemoryProducer(MemoryBus()), SystemClock(), Sources(), metrics.Metrics())
    return json.dumps(build_document(app.routes), ensure_ascii=False, indent=2) + "\n"


def profile_api() -> str:
    """Return the OpenAPI document of the profile API."""
    settings, unused = Settings(), cast("Any", object())  # the document needs the routes, and no service behind them
    gate = TokenGate(tuple, SystemClock(), metrics.Metrics())
    api = Api(ProfileReader(settings, MemoryStore(SystemClock())), gate, unused, unused, unused, unused)
    return json.dumps(api_openapi.build_document(api.application().routes), ensure_ascii=False, indent=2) + "\n"


def json_schema(name: str) -> str:
    """Return the JSON Schema of a kind of definition."""
    return json.dumps(definition_schema(name), ensure_ascii=False, indent=2) + "\n"


def operating() -> str:
    """Return the page for operators with a new table of commands; the rest of the page is written by hand."""
    page = (DOCS / "operating.md").read_text(encoding="utf-8")
    before, begin, rest = page.partition(_COMMANDS_BEGIN)
    _, end, after = rest.partition(_COMMANDS_END)
    if not begin or not end:  # else the text behind a missing mark would be lost
        raise ValueError("docs/operating.md lacks a mark around its table of commands")
    rows = [row for name, entry in COMMANDS.items() for row in _command_rows(load_command(entry.module, name), f"onefold {name}")]
    return before + begin + _table(("Command", "What it does"), rows) + "\n" + end + after


def _command_rows(command: _click.Command, path: str) -> Iterator[tuple[str, str]]:
    """Yield the usage of a command, or of each command of a group, and the first line of its help."""
    if isinstance(command, TyperGroup):
        for name, subcommand in command.commands.items():
            yield from _command_rows(subcommand, f"{path} {name}")
        return
    arguments = [piece.strip("{}") for piece in command.collect_usage_pieces(Context(command)) if piece != "[OPTIONS]"]
    yield f"`{' '.join((path, *arguments))}`", inspect.cleandoc(command.help or "").splitlines()[0]


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "topics.md": topics,
    "kafka-access.md": kafka_access,
    "reasons.md": reasons,
    "metrics.md": metrics_page,
    "operating.md": operating,
    "records.md": partial(records_page, _GENERATED_NOTICE),
    "asyncapi.json": asyncapi_document,
    "openapi/collector.json": collector_api,
    "openapi/api.json": profile_api,
    **{f"schemas/{name}.json": partial(json_schema, name) for name in ("definition", "segment", "computed-trait")},
    **{f"schemas/records/{name}.json": partial(record_schema, name) for name in RECORD_TYPES},
}


def main() -> None:
    """Write all pages into docs/."""
    for name, page in PAGES.items():
        Path("docs", name).parent.mkdir(parents=True, exist_ok=True)
        Path("docs", name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
