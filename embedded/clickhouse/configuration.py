"""The engine's configuration files: written at every start, so that an upgrade brings its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from embedded.clickhouse.protocol import CARRIER_SETTING

SERVER_FILE = "engine.xml"
USERS_FILE = "engine-users.xml"

# Reading, writing and defining, but no source outside the engine: file, url, s3, remote, mysql and their like answer 497.
GRANTS = (
    "SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, CREATE FUNCTION, "
    "CREATE TEMPORARY TABLE, DROP, TRUNCATE, OPTIMIZE, KILL QUERY, dictGet, INTROSPECTION, SYSTEM RELOAD DICTIONARY, SYSTEM FLUSH, "
    "SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM DROP CACHE, SYSTEM VIEWS"
)
# Settings that would read files, bring in code as text, or change the language that the statement scan knows.
FROZEN_SETTINGS = (
    "dialect", "additional_result_filter", "additional_table_filters", "format_template_resultset", "format_template_row",
    "format_schema", "format_schema_source", "allow_experimental_eval_table_function", "polyglot_dialect", "filter", "select",
    "order", "sort",
)  # fmt: skip
QUERY_LOG_DAYS = 7
"""How long the text of a statement stays in the query log."""
# A reader, whose connections are read-only, sees of these tables the rows of its own queries. Policies are the engine's own filter:
# they hold for KILL QUERY, SHOW PROCESSLIST, views, merge() and text that becomes code.
_OWN_ROWS = ("processes", "query_log", "user_query_log")
# … and of these none: they quote statements or values of others without saying whose.
_NO_ROWS = ("asynchronous_inserts", "backups", "distributed_ddl_queue", "errors", "mutations", "query_cache", "stack_trace")
_IS_OWN = (
    f"startsWith(Settings['{CARRIER_SETTING}'], 'analyst.') AND "
    f"substringIndex(Settings['{CARRIER_SETTING}'], '/', 1) = substringIndex(getSetting('{CARRIER_SETTING}'), '/', 1)"
)

_SERVER = """<clickhouse>
  <logger><level>warning</level></logger>
  <users_config>{users}</users_config>
  <custom_local_disks_base_directory>{disks}</custom_local_disks_base_directory>
  <max_server_memory_usage>{server_memory}</max_server_memory_usage>
  <mark_cache_size>134217728</mark_cache_size>
  <background_pool_size>2</background_pool_size>
  <query_cache><max_size_in_bytes>67108864</max_size_in_bytes></query_cache>
  <query_log>
    <database>system</database><table>query_log</table>
    <partition_by>event_date</partition_by><ttl>event_date + INTERVAL {days} DAY DELETE</ttl>
    <flush_interval_milliseconds>2000</flush_interval_milliseconds>
  </query_log>
</clickhouse>
"""
_USERS = """<clickhouse>
  <profiles><default>
    <max_memory_usage>{query_memory}</max_memory_usage>
    <constraints>{constraints}</constraints>
  </default></profiles>
  <users><default>
    <no_password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT {grants} ON *.*</query></grants>
    <databases><system>{policies}</system></databases>
  </default></users>
  <quotas><default><interval>
    <duration>3600</duration><queries>0</queries><errors>0</errors><result_rows>0</result_rows><read_rows>0</read_rows>
    <execution_time>0</execution_time>
  </interval></default></quotas>
</clickhouse>
"""


def configuration_files(directory: Path, memory_bytes: int) -> dict[str, str]:
    """Return the text of each file by its name, for an engine in `directory` (absolute) that may use `memory_bytes`."""
    constraints = "".join(f"<{name}><const/></{name}>" for name in FROZEN_SETTINGS)
    server = _SERVER.format(
        users=escape(str(directory / USERS_FILE)),
        disks=escape(str(directory / "no-disks")) + "/",
        server_memory=memory_bytes,
        days=QUERY_LOG_DAYS,
    )
    users = _USERS.format(
        query_memory=memory_bytes * 2 // 3, constraints=constraints, grants=GRANTS, policies="".join(_row_policies())
    )
    return {SERVER_FILE: server, USERS_FILE: users}


def _row_policies() -> Iterator[str]:
    for table in _OWN_ROWS:
        yield f"<{table}><filter>getSetting('readonly') = 0 OR ({_IS_OWN})</filter></{table}>"
    for table in _NO_ROWS:
        yield f"<{table}><filter>getSetting('readonly') = 0</filter></{table}>"


def write(directory: Path, memory_bytes: int) -> None:
    """Write the files into `directory`, readable for this user only. Raises OSError."""
    for name, text in configuration_files(directory, memory_bytes).items():
        partial = directory / f".{name}.partial"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(directory / name)


def memory_budget(total_bytes: int) -> int:
    """Return the engine's share of a machine's memory: a third, between 1 and 8 GiB."""
    return min(max(total_bytes // 3, 1 << 30), 8 << 30)
