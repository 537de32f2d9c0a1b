"""The query ids of clients. Pure.

The engine gives each query an id of its own and takes none. The client's travels as a setting that does nothing else. Statements
are changed so that they read it, and the system tables are read through views that show it. So `KILL QUERY WHERE query_id = …`
finds the id that the client knows, and every table that shows query ids shows that one.
"""

from collections.abc import Iterator

from embedded.clickhouse.lexer import Token, tokens
from embedded.clickhouse.protocol import CARRIER_SETTING, quote_literal

VIEW_PREFIX = "onefold_"


def id_part(carrier: str) -> str:
    """Return the expression for the client's id in the expression of a carrier, `owner/id`; an id may hold slashes."""
    return f"substring({carrier}, position({carrier}, '/') + 1)"


# Tables with a column `Settings`, which tells the client's id by itself.
_TABLES_WITH_SETTINGS = ("processes", "query_log", "user_query_log")
TABLES_WITH_QUERY_IDS = frozenset({
    *_TABLES_WITH_SETTINGS, "asynchronous_inserts", "background_schedule_pool", "backups", "errors", "query_cache",
    "session_query_ids", "stack_trace",
})  # fmt: skip
_ID_FUNCTIONS = frozenset({"queryid", "query_id", "initialqueryid", "initial_query_id"})
_ID_COLUMNS = frozenset({"query_id", "initial_query_id"})
_LOGGED_CARRIER = f"Settings['{CARRIER_SETTING}']"
_SHOWN_ID = f"if({_LOGGED_CARRIER} != '', {id_part(_LOGGED_CARRIER)}, {{column}})"
_CLAUSES = frozenset({
    "where", "prewhere", "group", "order", "limit", "join", "final", "sample", "settings", "format", "union", "intersect", "except",
    "having", "qualify", "window", "array", "global", "any", "all", "asof", "semi", "anti", "left", "right", "full", "inner",
    "cross", "paste", "on", "using", "into", "offset", "fetch", "with", "comment",
})  # fmt: skip
_KILL_ENDS = frozenset({"sync", "async", "test", "format", "settings", "into"})


def kill_statement(carrier: str) -> str:
    """Return the statement that ends the running query of this owner and id (`owner/id`)."""
    return f"KILL QUERY WHERE Settings['{CARRIER_SETTING}'] = {quote_literal(carrier)} ASYNC"


def view_statements(columns_by_table: dict[str, list[str]]) -> Iterator[str]:
    """Yield the statements that make the views, from the columns with query ids of each table that exists."""
    for table, columns in columns_by_table.items():
        if table in _TABLES_WITH_SETTINGS:
            shown = ", ".join(f"{_SHOWN_ID.format(column=column)} AS {column}" for column in columns)
            # what the endpoint asks for itself has no id of a client, and runs in between
            where = f" WHERE {_LOGGED_CARRIER} != ''" if table == "processes" else ""
            yield f"CREATE OR REPLACE VIEW system.{VIEW_PREFIX}{table} AS SELECT * REPLACE ({shown}) FROM system.{table}{where}"  # noqa: S608 - names of the engine's own tables
    # A map of all ids for the others, which name a query and say no more of it.
    pairs = " UNION ALL ".join(
        f"SELECT query_id, {id_part(_LOGGED_CARRIER)} AS id FROM system.{table} WHERE id != ''"  # noqa: S608 - the same
        for table in _TABLES_WITH_SETTINGS
        if table in columns_by_table
    )
    known = f"(SELECT CAST((groupArray(query_id), groupArray(id)), 'Map(String, String)') FROM ({pairs}))"  # noqa: S608 - the same
    for table, columns in columns_by_table.items():
        if table not in _TABLES_WITH_SETTINGS:
            shown = ", ".join(f"{_mapped(column)} AS `{column}`" for column in columns)
            body = f"WITH {known} AS ids SELECT * REPLACE ({shown}) FROM system.{table}"  # noqa: S608 - the same
            yield f"CREATE OR REPLACE VIEW system.{VIEW_PREFIX}{table} AS {body}"


def _mapped(column: str) -> str:
    if "." in column:  # a list of ids
        return f"arrayMap(x -> if(ids[x] != '', ids[x], x), `{column}`)"
    return f"if(ids[`{column}`] != '', ids[`{column}`], `{column}`)"


def with_client_ids(sql: str, database: str | None) -> str:
    """Return a statement in which query ids are those of clients. `database` is the one that bare names of tables are in."""
    lowered = sql.lower()
    names_table = ("system" in lowered or database == "system") and any(table in lowered for table in TABLES_WITH_QUERY_IDS)
    if not names_table and not any(name in lowered for name in _ID_FUNCTIONS):
        return sql
    parts = list(tokens(sql))
    changes = _kill_changes(parts) if _words(parts[:2]) == ["kill", "query"] else _read_changes(parts, database)
    output: list[str] = []
    copied_to = 0
    for start, end, replacement in changes:
        output += (sql[copied_to:start], replacement)
        copied_to = end
    return "".join([*output, sql[copied_to:]])


def _words(parts: list[Token]) -> list[str]:
    return [part.text.lower() if part.kind in {"word", "quoted"} else part.text for part in parts]


def _kill_changes(parts: list[Token]) -> Iterator[tuple[int, int, str]]:
    words = _words(parts)
    for index, part in enumerate(parts):
        if part.kind == "word" and words[index] in _KILL_ENDS:
            return
        if words[index] in _ID_COLUMNS and part.kind in {"word", "quoted"} and words[index - 1] != ".":
            yield part.start, part.end, _SHOWN_ID.format(column=words[index])


def _read_changes(parts: list[Token], database: str | None) -> Iterator[tuple[int, int, str]]:
    words = _words(parts)
    for index, (part, word) in enumerate(zip(parts, words, strict=True)):
        following = [*words[index + 1 : index + 3], "", ""]
        if part.kind == "word" and word in _ID_FUNCTIONS and following[:2] == ["(", ")"]:
            yield part.start, parts[index + 2].end, id_part(f"getSetting('{CARRIER_SETTING}')")
        elif word in TABLES_WITH_QUERY_IDS and part.kind in {"word", "quoted"}:
            is_qualified = words[max(index - 2, 0) : index] == ["system", "."]
            start = parts[index - 2].start if is_qualified else part.start
            before = words[index - 3] if is_qualified and index > 2 else words[index - 1] if index and not is_qualified else ""
            if is_qualified and following[0] == ".":  # a column by its full name
                yield start, part.end, word
            elif before in {"from", "join", "table", "describe", "desc", ","} and (is_qualified or database == "system"):
                takes_alias = before in {"from", "join", ","} and _needs_alias(parts[index + 1 : index + 2])
                yield start, part.end, f"system.{VIEW_PREFIX}{word}" + (f" AS {word}" if takes_alias else "")


def _needs_alias(following: list[Token]) -> bool:
    """Whether no alias follows a table, so that its columns may be called by the table's name."""
    if not following or following[0].kind == "symbol":
        return True
    return following[0].kind == "word" and following[0].text.lower() in _CLAUSES
