"""Fuzzes the embedded ClickHouse endpoint as the reading user, on a real engine.

Whatever the statement: no table changes, and no answer holds a file outside of the store, a variable of the environment, or a
statement of another user, which runs to its end.
"""

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.fuzz.http import broken
from tests.support.clickhouse_server import as_analyst, clickhouse_server

CANARY_VARIABLE: Final = "ONEFOLD_FUZZ_CANARY_SECRET"
_CHECK_EVERY: Final = 250
_READ_BYTES: Final = 1 << 20
_WORKING: Final = "SELECT sum(sleepEachRow(0.05)) FROM numbers(100) SETTINGS max_block_size = 1 /* {canary} */"
_TABLE_STATEMENTS: Final = (
    "CREATE DATABASE shop ENGINE = Atomic",
    "CREATE TABLE shop.orders (id UInt64, total UInt64) ENGINE = MergeTree ORDER BY id AS SELECT number, number FROM numbers(100)",
    "CREATE TABLE shop.customers (id UInt64, name String) ENGINE = MergeTree ORDER BY id AS SELECT 1, 'Nguyễn'",
)
_STATE_STATEMENTS: Final = (
    "SELECT count(), sum(cityHash64(*)) FROM shop.orders",
    "SELECT count(), sum(cityHash64(*)) FROM shop.customers",
    "SELECT database, name, create_table_query FROM system.tables WHERE database NOT ILIKE '%schema' AND database != 'system'",
    "SELECT name FROM system.databases",
    "SELECT name FROM system.functions WHERE origin = 'SQLUserDefined'",
    "SELECT name FROM system.users",
)
_TABLES: Final = ("shop.orders", "orders", "shop.customers", "system.one", "numbers(3)", "tmp")
_CLOSED_TABLES: Final = (
    "system.processes", "system.query_log", "system.mutations", "system.errors", "system.query_cache", "system.stack_trace",
    "system.asynchronous_inserts", "processes", "query_log", "`system`.`processes`", "merge('system', '^processes$')",
    "merge(REGEXP('sys.*'), 'query_log')", "loop(system.processes)", "cluster('default', system.processes)",
    "remote('127.0.0.1', system.processes)", "view(SELECT * FROM system.processes)", "{table:Identifier}",
    "system.{table:Identifier}", "file('{path}', 'LineAsString')", "url('file://{path}', 'LineAsString')",
    "executable('cat {path}', 'TSV', 'a String')", "python(x)", "s3('http://127.0.0.1:9/x')",
    "fileCluster('default', '{path}', 'LineAsString')", "sqlite('{path}', 't')",
    "format(Values, 'a String', concat('(fi', 'le(''{path}''))'))", "format(LineAsString, 'a String', 'x')",
    "format(JSONEachRow, 'a String, b String DEFAULT file(''{path}'')', '{{\"a\": \"x\"}}')",
    "format(Values, 'a String', '((SELECT any(query) FROM system.processes))')",
    "values('a String, b String DEFAULT file(''{path}'')', ('x', 'y'))", "generateRandom('a String')", "merge('shop', '.*')",
    "dictionary('shop.none')", "icebergLocal('{path}')", "deltaLakeLocal('{path}')", "filesystem('{path}')",
)  # fmt: skip
_VALUES: Final = (
    "1", "*", "count()", "'x'", "NULL", "total", "id", "query", "file('{path}')", "`file`('{path}')", "FILE(/* */'{path}')",
    "getSetting('readonly')", "getSetting('chdb_client_name')", "arrayMap({f:Identifier}, ['{path}'])",
    "arrayMap(file, ['{path}'])", "* APPLY(file)", "getServerPort('x')", "getMacro('x')", "hostName()", "currentUser()",
    "queryID()", "dictGet('d', 'a', 1)", "catboostEvaluate('{path}', 1)", "(SELECT any(query) FROM system.processes)",
    "formatRow('CSV', 1)", "format('{{}}', 1)", "getSetting('format_schema_path')", "showCertificate()", "$$x$$",
    "{value:String}", "fuzzQuery('SELECT 1')",
)  # fmt: skip
_SETTINGS: Final = (
    "readonly", "max_execution_time", "max_memory_usage", "max_threads", "chdb_client_name", "profile", "allow_ddl", "dialect",
    "allow_introspection_functions", "additional_result_filter", "additional_table_filters", "max_result_rows", "log_comment",
    "use_query_cache", "enable_analyzer", "format_schema", "format_template_row", "input_format_values_interpret_expressions",
    "max_untracked_memory", "function_sleep_max_microseconds_per_block", "compatibility", "filter", "select", "order", "sort",
    "allow_experimental_eval_table_function", "implicit_select", "max_parser_backtracks", "polyglot_dialect",
)  # fmt: skip
_SETTING_VALUES: Final = (
    "0", "1", "2", "DEFAULT", "999999999999", "'0'", "''", "'kusto'", "'x'", "-1", "{value:String}", "'file(''{path}'')'",
    "'1 = 0'", "{{'shop.orders': 'file(''{path}'') != 1'}}", "'app.onefold/1'", "'20.3'",
)  # fmt: skip
_COMMANDS: Final = (
    "DROP TABLE {table}", "DROP DATABASE shop", "TRUNCATE TABLE {table}", "TRUNCATE DATABASE shop",
    "DETACH TABLE {table} PERMANENTLY", "ALTER TABLE {table} DELETE WHERE 1", "ALTER TABLE {table} UPDATE total = 0 WHERE 1",
    "ALTER TABLE {table} DROP COLUMN total", "ALTER TABLE {table} MODIFY TTL now()", "DELETE FROM {table} WHERE 1",
    "UPDATE {table} SET total = 0 WHERE 1", "OPTIMIZE TABLE {table} FINAL", "RENAME TABLE {table} TO shop.other",
    "EXCHANGE TABLES shop.orders AND shop.customers", "CREATE TABLE shop.made (a Int8) ENGINE = Memory",
    "CREATE TABLE shop.made ENGINE = Memory AS {select}", "CREATE VIEW shop.made AS {select}",
    "CREATE MATERIALIZED VIEW shop.made TO shop.orders AS {select}",
    "CREATE TEMPORARY TABLE tmp (a String DEFAULT file('{path}'))", "CREATE TEMPORARY TABLE tmp AS {select}",
    "CREATE DATABASE made", "CREATE FUNCTION f AS x -> file(x)", "CREATE USER made", "CREATE ROLE made",
    "CREATE NAMED COLLECTION made AS a = 1",
    "CREATE DICTIONARY shop.d (k UInt64) PRIMARY KEY k SOURCE(EXECUTABLE(COMMAND 'cat {path}' FORMAT TSV)) LAYOUT(FLAT())",
    "CREATE QUOTA made", "CREATE SETTINGS PROFILE made", "CREATE WORKLOAD made", "ALTER USER default SETTINGS readonly = 0",
    "GRANT ALL ON *.* TO default", "REVOKE ALL ON *.* FROM default", "SET ROLE ALL", "EXECUTE AS default {select}",
    "INSERT INTO {table} VALUES (1, 1)", "INSERT INTO {table} {select}", "INSERT INTO {table} FORMAT TSV\n1\t1\n",
    "INSERT INTO FUNCTION file('{path}') {select}", "INSERT INTO {table} FROM INFILE '{path}' FORMAT TSV",
    "INSERT INTO {table} SETTINGS readonly = DEFAULT {select}", "ATTACH TABLE shop.made", "UNDROP TABLE shop.made",
    "BACKUP DATABASE shop TO File('{path}.zip')", "RESTORE DATABASE shop FROM File('{path}')", "CHECK TABLE {table}",
    "SYSTEM SHUTDOWN", "SYSTEM KILL", "SYSTEM STOP MERGES", "SYSTEM FLUSH LOGS", "SYSTEM DROP MARK CACHE", "SYSTEM RELOAD CONFIG",
    "SYSTEM RELOAD DICTIONARIES", "SYSTEM SYNC FILE CACHE", "SYSTEM STOP LISTEN HTTP", "SYSTEM ENABLE FAILPOINT x",
    "KILL QUERY WHERE 1", "KILL QUERY WHERE query LIKE '%sleepEachRow%' SYNC", "KILL QUERY WHERE 1) OR (1",
    "KILL MUTATION WHERE 1", "KILL QUERY WHERE query_id != 'x' OR 1 ASYNC", "KILL TRANSACTION WHERE 1",
    "KILL PART_MOVE_TO_SHARD WHERE 1", "SET {setting} = {setting_value}", "USE system", "USE shop", "SHOW PROCESSLIST",
    "SHOW TABLES FROM shop", "SHOW CREATE TABLE {table}", "SHOW ACCESS", "SHOW GRANTS", "SHOW USERS", "EXISTS TABLE {table}",
    "DESCRIBE TABLE {table}", "DESCRIBE ({select})", "EXPLAIN {select}", "EXPLAIN PIPELINE {select}", "EXPLAIN ESTIMATE {select}",
    "EXPLAIN TABLE OVERRIDE {select}", "WATCH {table}", "{select} INTO OUTFILE '{path}'", "{select}; DROP TABLE shop.orders",
    "BEGIN TRANSACTION", "COMMIT", "MOVE USER x TO y",
)  # fmt: skip
_WRAPPERS: Final = (
    "SELECT * FROM ({select})", "WITH w AS ({select}) SELECT * FROM w", "SELECT ({select})", "SELECT 1 IN ({select})",
    "{select} UNION ALL {select}", "({select}) LIMIT 3", "SELECT * FROM view({select})", "FROM ({select}) SELECT *",
    "SELECT * FROM ({select}) AS x CROSS JOIN ({select}) AS y", "{select} SETTINGS {setting} = {setting_value}",
    "{select} FORMAT JSONEachRow", "{select} FORMAT Template", "/* x */ {select} -- y", "{select} EXCEPT {select}",
    "SELECT * FROM ({select} SETTINGS {setting} = {setting_value})",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Canaries:
    """Texts that no answer to the reader may hold, and a file that it may not read."""

    variable: str
    statement: str
    content: str
    path: str

    def name_in(self, body: str) -> str | None:
        """Return what an answer holds that it may not."""
        named = (("a variable", self.variable), ("another user's statement", self.statement), ("a file", self.content))
        return next((name for name, text in named if text in body), None)


class _Writer:
    """Writes statements by chance."""

    def __init__(self, rng: random.Random, path: str) -> None:
        self._rng, self._path = rng, path

    def statement(self) -> str:
        """Return a statement."""
        rng = self._rng
        text = self._fill(rng.choice(_COMMANDS)) if rng.random() < 0.5 else self._select(3)
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            text = self._changed(text)
        return text

    def parameters(self) -> dict[str, str]:
        """Return the parameters of a request."""
        rng = self._rng
        chosen = {
            "param_table": rng.choice(("processes", "query_log", "orders")),
            "param_f": rng.choice(("file", "`file`", "lower")),
        }
        chosen["param_value"] = rng.choice(("x", self._path, "file('x')"))
        if rng.random() < 0.3:
            chosen["database"] = rng.choice(("system", "shop", "nope"))
        if rng.random() < 0.2:
            chosen |= {"session_id": rng.choice("ab"), "session_timeout": "5"}
        if rng.random() < 0.2:
            chosen[rng.choice(_SETTINGS)] = self._fill(rng.choice(_SETTING_VALUES)).strip("'")
        return chosen

    def _select(self, depth: int) -> str:
        rng = self._rng
        if depth and rng.random() < 0.5:
            return self._fill(rng.choice(_WRAPPERS), depth)
        table = rng.choice(_TABLES if rng.random() < 0.5 else _CLOSED_TABLES)
        end = rng.choice(("", "", " LIMIT 3", " WHERE 1", " FINAL"))
        return self._fill(f"SELECT {rng.choice(_VALUES)} FROM {table}{end}")  # noqa: S608 - statements are what this makes

    def _fill(self, text: str, depth: int = 1) -> str:
        """Replace the marks of a pattern, and those of the parts that replace them."""
        rng = self._rng
        paths = (self._path, "/proc/self/environ", "/etc/passwd", "../engine-users.xml")
        while "{select}" in text:
            text = text.replace("{select}", self._select(depth - 1), 1)
        for mark, parts in (
            ("{table}", _TABLES),
            ("{setting}", _SETTINGS),
            ("{setting_value}", _SETTING_VALUES),
            ("{path}", paths),
        ):
            while mark in text:
                text = text.replace(mark, rng.choice(parts), 1)
        return text.replace("{{", "{").replace("}}", "}")

    def _changed(self, text: str) -> str:
        rng = self._rng
        words = text.split(" ")
        at = rng.randrange(len(words))
        change = rng.randrange(6)
        if change == 0:
            words[at] = words[at].swapcase()
        elif change == 1:
            words.insert(at, rng.choice(("/* x */", "/*", "-- x\n", "#!x\n", ";", "\n", "'", "`", "(", ")", "\u00a0", "\0", "$$")))
        elif change == 2:
            del words[at]
        elif change == 3:
            words.insert(at, words[rng.randrange(len(words))])
        elif change == 4:
            words[at] = f"`{words[at]}`"
        else:
            return text[: rng.randrange(len(text) + 1)]
        return " ".join(words)


async def fuzz(seed: int, inputs: int) -> Counter[str]:
    """Run `inputs` statements as the reading user; raises InvariantBroken. Returns how many ended with which status."""
    rng, seen = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="onefold-fuzz-") as name, _engine(Path(name), rng) as (url, canaries):
        async with (
            httpx.AsyncClient(base_url=url, timeout=120) as app,
            httpx.AsyncClient(base_url=as_analyst(url), timeout=120) as reader,
        ):
            stand, writer = _Stand(app, canaries), _Writer(rng, canaries.path)
            await stand.prepare()
            for start in range(0, inputs, _CHECK_EVERY):
                for _ in range(min(_CHECK_EVERY, inputs - start)):
                    statement, parameters = writer.statement(), writer.parameters()
                    status, body = await _ask(reader, statement, parameters)
                    seen[str(status)] += 1
                    if (leaked := canaries.name_in(body)) is not None:
                        raise broken(f"the answer to a reader holds {leaked}", (statement, parameters, body[:500]))
                await stand.check(start)
            await stand.end()
    return seen


@contextmanager
def _engine(directory: Path, rng: random.Random) -> Iterator[tuple[str, _Canaries]]:
    """Start an engine with a secret in the environment and one in a file beside its store."""
    variable, statement, content = (f"canary{rng.getrandbits(64):016x}" for _ in range(3))
    path = directory / "secret"
    path.write_text(content)
    os.environ[CANARY_VARIABLE] = variable
    try:
        with clickhouse_server(directory) as url:
            yield url, _Canaries(variable, statement, content, str(path))
    finally:
        del os.environ[CANARY_VARIABLE]


async def _ask(reader: httpx.AsyncClient, statement: str, parameters: dict[str, str]) -> tuple[int, str]:
    """Return the status and the beginning of the answer; the rest of a long one is not waited for."""
    body = bytearray()
    content = statement.encode("utf-8", "surrogatepass")
    async with reader.stream("POST", "/", params={"max_execution_time": "2"} | parameters, content=content) as answer:
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > _READ_BYTES:
                break
    return answer.status_code, body.decode(errors="replace")


class _Stand:
    """What the application has and does meanwhile, and what must be left of it."""

    def __init__(self, app: httpx.AsyncClient, canaries: _Canaries) -> None:
        self._app = app
        self._work = _WORKING.format(canary=canaries.statement)
        self._working: asyncio.Task[httpx.Response] | None = None
        self._expected: list[str] = []

    async def prepare(self) -> None:
        """Make the tables and begin to work."""
        for sql in (*_TABLE_STATEMENTS, self._work.replace("100", "1"), "SYSTEM FLUSH LOGS"):
            (await self._app.post("/", content=sql)).raise_for_status()
        self._expected = await self._state()
        self._begin_work()

    async def check(self, start: int) -> None:
        """Raise InvariantBroken when something changed, or when the work was ended, by one of the statements from `start` on."""
        if (state := await self._state()) != self._expected:
            raise broken("a reader changed something", (f"statements from {start}", self._expected, state))
        if self._working is not None and self._working.done():
            if (answer := self._working.result()).status_code != 200:
                raise broken("a reader ended a query of the application", (f"statements from {start}", answer.text))
            self._begin_work()

    async def end(self) -> None:
        """End the work."""
        (await self._app.post("/", content="KILL QUERY WHERE query_id = 'work'")).raise_for_status()
        if self._working is not None:
            await self._working

    def _begin_work(self) -> None:
        self._working = asyncio.create_task(self._app.post("/", params={"query_id": "work"}, content=self._work))

    async def _state(self) -> list[str]:
        return [(await self._app.post("/", content=sql)).text for sql in _STATE_STATEMENTS]
