"""Creates the database and its tables by the numbered files of `migrations/`, each of them once.

A file must never be changed after it was applied somewhere: its hash is stored, and a different hash stops `onefold prepare`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import re2

from runtime.errors import Misconfigured
from runtime.settings import Settings
from warehouse.client import Warehouse
from warehouse.connection import credentials

MIGRATIONS_FOLDER: Final = Path(__file__).parent / "migrations"
_FILE_NAME: Final = re2.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_CREATE_MIGRATIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS {database}.migrations (number UInt32, name String, sha256 String)
ENGINE = ReplacingMergeTree ORDER BY number"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`. Its statements can be executed again, because a crash may come before the file is registered."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, database: str, credentials: str) -> list[str]:
        """Return the statements, with the database's name and the dictionaries' credentials filled in."""
        without_comments = "\n".join(line for line in self.text.splitlines() if not line.startswith("--"))
        filled = without_comments.replace("{database}", database).replace("{credentials}", credentials)
        return [statement.strip() for statement in filled.split(";\n") if statement.strip(" \n;")]


def load_migrations(folder: Path = MIGRATIONS_FOLDER) -> list[Migration]:
    """Return all migrations by number. Raises Misconfigured unless the numbers start at 1 and have no gap."""
    loaded = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise Misconfigured(f"{path.name} in the migrations is not named NNNN_words.sql")
        loaded.append(Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8")))
    if [m.number for m in loaded] != list(range(1, len(loaded) + 1)):
        raise Misconfigured("the migrations are not numbered 1, 2, 3 …")
    return loaded


async def migrate(settings: Settings) -> list[str]:
    """Apply the migrations that were not applied yet, and return their names.

    Raises Misconfigured if the text of an applied migration has changed.
    """
    database = settings.clickhouse_database
    server = await Warehouse.connect(settings, use_database=False)
    try:
        await server.command(f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic")
        await server.command(_CREATE_MIGRATIONS_TABLE.format(database=database))
        query = f"SELECT number, sha256 FROM {database}.migrations FINAL"  # noqa: S608 - the name's pattern is checked by Settings
        applied_checksums = dict(await server.query(query))
        applied_names = []
        for migration in load_migrations():
            applied_checksum = applied_checksums.get(migration.number)
            if applied_checksum is not None:
                if applied_checksum != migration.sha256:
                    raise Misconfigured(f"migration {migration.name} was applied with another text: restore it, add a new one")
                continue
            for statement in migration.statements(database, _credentials(settings)):
                await server.command(statement)
            await server.command(
                f"INSERT INTO {database}.migrations SELECT {{number:UInt32}}, {{name:String}}, {{sha256:String}}",
                {"number": migration.number, "name": migration.name, "sha256": migration.sha256},
            )
            applied_names.append(migration.name)
        return applied_names
    finally:
        await server.aclose()


def _credentials(settings: Settings) -> str:
    """Return the credentials with which a dictionary reads its table: none in the embedded engine, else those of the connection."""
    if settings.mode == "embedded":
        return ""
    user, password = credentials(settings)
    return "" if user is None else f"USER {_quoted(user)} PASSWORD {_quoted(password)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
