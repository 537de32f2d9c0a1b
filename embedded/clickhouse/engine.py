"""The engine in this process: one connection per request or session, one pool per user, and what a server does by itself."""

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, cast

import chdb

from embedded.clickhouse.configuration import QUERY_LOG_DAYS, SERVER_FILE
from embedded.clickhouse.insert_canaries import refuse_unless_inserts_raise
from embedded.clickhouse.limits import UserLimits, UserRole
from embedded.clickhouse.query_ids import TABLES_WITH_QUERY_IDS, kill_statement, view_statements
from runtime.errors import Misconfigured
from runtime.logs import get_logger

log = get_logger(__name__)
_CONTROL_THREADS = 2
_RELOAD_EVERY_S = 1.0
_TRIM_LOG_EVERY_S = 3600.0
_DUE_DICTIONARIES = (
    "SELECT database, name FROM system.dictionaries WHERE lifetime_max > 0 AND status IN ('LOADED', 'FAILED') "
    "AND last_successful_update_time <= now() - greatest(lifetime_min, 1)"
)
_EXPIRED_LOG_DAYS = (
    "SELECT DISTINCT table, partition_id FROM system.parts WHERE active AND database = 'system' AND table = 'query_log' "  # noqa: S608 - our own number
    f"AND max_date < today() - {QUERY_LOG_DAYS}"
)
_MEMORY_IN_USE = "SELECT value FROM system.metrics WHERE metric = 'MemoryTracking'"
_COLUMNS_WITH_QUERY_IDS = "SELECT table, name FROM system.columns WHERE database = 'system' AND match(name, '(^|[._])query_id$')"
# One closed source, one closed right and one frozen setting: each must answer with its code, or the files were not read.
_CANARIES = (
    ("SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')", "Code: 497."),
    ("CREATE USER canary", "Code: 497."),
    ("SET dialect = 'kusto'", "Code: 452."),
)
# The same on a reader's connection: it stays read-only however it is asked, and sees no query of others.
_READER_CANARIES = (
    ("SET readonly = 0", "Code: 164."),
    ("SET readonly = DEFAULT", "Code: 164."),
    ("SELECT throwIf(r = 2, 'read-only') FROM (SELECT getSetting('readonly') AS r SETTINGS readonly = 0)", "Code: 395."),
    ("SELECT throwIf(count() = 0, 'nothing') FROM system.processes", "Code: 395."),
    ("CREATE DATABASE canary", "Code: 164."),
)


class EngineResult(Protocol):
    """The result of a finished query."""

    def bytes(self) -> bytes: ...
    def size(self) -> int: ...
    def rows_read(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...
    def elapsed(self) -> float: ...


class EngineStream(Protocol):
    """A running SELECT."""

    def fetch(self) -> EngineResult | None: ...
    def cancel(self) -> None: ...


class InsertResult(Protocol):
    """The result of a finished insert."""

    rows_written: int
    bytes_written: int
    elapsed: float


class EngineInsert(Protocol):
    """A running INSERT."""

    def append(self, data: bytes) -> None: ...
    def finish(self) -> InsertResult: ...
    def cancel(self) -> None: ...


class EngineConnection(Protocol):
    """One engine connection: a session of its own. Errors are RuntimeError with ClickHouse's text."""

    def query(self, query: str, format: str = "CSV", params: Any = None) -> EngineResult: ...  # noqa: A002 - the engine's own name
    def send_query(self, query: str, format: str = "CSV", params: Any = None) -> EngineStream: ...  # noqa: A002 - the same
    def send_insert(self, query: str, format: str = "CSV") -> EngineInsert: ...  # noqa: A002 - the same
    def close(self) -> None: ...


def _connect(dsn: str) -> EngineConnection:
    return cast("EngineConnection", chdb.connect(dsn))


class Engine:
    """Opens the store in the working directory, which must hold the configuration files.

    Raises:
        Misconfigured: when the engine did not take its configuration.
        RuntimeError: the engine's own text when it cannot open the store; `describe_open_failure` makes it plain.
    """

    def __init__(self, limits_by_user: Mapping[str, UserLimits]) -> None:
        # Relative on purpose: the engine's connection string cannot carry every character that a path may hold.
        self._dsn = f"data?config-file={SERVER_FILE}"
        self._root_connection = _connect(self._dsn)
        self._refuse_unless_confined()
        self._refuse_unless_inserts_raise()
        self.version, self.timezone = self._query_rows("SELECT version(), timezone()")[0]
        self.content_types = dict(self._query_rows("SELECT lower(name), content_type FROM system.formats WHERE is_output"))
        self._show_client_ids()
        self._pools = {user: ThreadPoolExecutor(limits.threads, user) for user, limits in limits_by_user.items()}
        self._control = ThreadPoolExecutor(_CONTROL_THREADS, "control")
        self._ping: Future[bool] | None = None
        self._stopping = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        self._housekeeper.start()

    def pool(self, user: str) -> ThreadPoolExecutor:
        """Return the thread pool of a user, so that nobody takes the thread of another."""
        return self._pools[user]

    def open(self, role: UserRole) -> EngineConnection:
        """Open a new connection with the rights of `role`."""
        return _connect(self._dsn + ("&mode=ro" if role == "analyst" else ""))

    def ping(self) -> "Future[bool]":
        """Return whether the engine answers a query, on a thread that no other query can occupy. One answer is for all who wait."""
        if self._ping is None or self._ping.done():
            self._ping = self._control.submit(self._responds)
        return self._ping

    def kill(self, carrier: str) -> "Future[None]":
        """End the running query of this owner and id (`owner/id`)."""
        return self._control.submit(self._run_command, kill_statement(carrier))

    def memory_in_use(self) -> "Future[int]":
        """Return how many bytes the engine has in use, results that are not sent yet among them."""
        return self._control.submit(self._read_memory)

    def close(self) -> None:
        """End what runs, wait for its threads, and close the store."""
        self._stopping.set()
        self._housekeeper.join()
        self._run_command("KILL QUERY WHERE query NOT LIKE 'KILL%' ASYNC")
        for pool in (*self._pools.values(), self._control):
            pool.shutdown(cancel_futures=True)
        self._root_connection.close()

    def _responds(self) -> bool:
        connection = self.open("app")
        try:
            return connection.query("SELECT 1", "TSV").bytes() == b"1\n"
        except RuntimeError:
            return False
        finally:
            connection.close()

    def _read_memory(self) -> int:
        connection = self.open("app")
        try:
            return int(connection.query(_MEMORY_IN_USE, "TSV").bytes())
        finally:
            connection.close()

    def _run_command(self, sql: str) -> None:
        connection = self.open("app")
        try:
            connection.query(sql, "Null")
        except RuntimeError as error:
            log.warning("own_command_refused", error=str(error)[:200])
        finally:
            connection.close()

    def _query_rows(self, sql: str) -> list[tuple[str, str]]:
        """Return the rows of a query for two texts."""
        return [_parse_pair(line) for line in self._root_connection.query(sql, "JSONCompactEachRow").bytes().decode().splitlines()]

    def _show_client_ids(self) -> None:
        """Make the views that show the query ids of clients. The log is flushed first, so that its table exists."""
        self._root_connection.query("SYSTEM FLUSH LOGS", "Null")
        columns_by_table: dict[str, list[str]] = {}
        for table, column in self._query_rows(_COLUMNS_WITH_QUERY_IDS):
            if table in TABLES_WITH_QUERY_IDS:
                columns_by_table.setdefault(table, []).append(column)
        for sql in view_statements(columns_by_table):
            self._root_connection.query(sql, "Null")

    def _refuse_unless_confined(self) -> None:
        reading_connection = self.open("analyst")
        try:
            for connection, canaries in ((self._root_connection, _CANARIES), (reading_connection, _READER_CANARIES)):
                for sql, code in canaries:
                    if not _is_refused(connection, sql, code):
                        self._root_connection.close()
                        raise Misconfigured(
                            f"the ClickHouse engine is not confined ({sql}): it did not take {SERVER_FILE} and is not served. "
                            "Install the pinned chdb-core, and see that the data directory is readable"
                        )
        finally:
            reading_connection.close()

    def _refuse_unless_inserts_raise(self) -> None:
        connection = self.open("app")
        try:
            refuse_unless_inserts_raise(connection)
        except Misconfigured:
            self._root_connection.close()
            raise
        finally:
            connection.close()

    def _keep_house(self) -> None:
        """Do what the embedded engine never does by itself: reload dictionaries, and empty the query log in time."""
        connection = self.open("app")
        trimmed_at_s = -_TRIM_LOG_EVERY_S
        while not self._stopping.wait(_RELOAD_EVERY_S):
            try:
                _reload_due_dictionaries(connection)
            except RuntimeError as error:
                log.warning("dictionary_not_reloaded", error=str(error).partition(". ")[0])
            if time.monotonic() - trimmed_at_s < _TRIM_LOG_EVERY_S:
                continue
            trimmed_at_s = time.monotonic()
            try:
                trim_query_log(connection)
            except RuntimeError as error:
                log.warning("query_log_not_trimmed", error=str(error).partition(". ")[0])
        connection.close()


def _is_refused(connection: EngineConnection, sql: str, code: str) -> bool:
    try:
        connection.query(sql, "Null")
    except RuntimeError as error:
        return code in str(error)
    return False


def _reload_due_dictionaries(connection: EngineConnection) -> None:
    """Reload the dictionaries whose LIFETIME is over."""
    rows = connection.query(_DUE_DICTIONARIES, "JSONCompactEachRow").bytes().decode().splitlines()
    for database, name in map(_parse_pair, rows):
        connection.query(f"SYSTEM RELOAD DICTIONARY {_quote_name(database)}.{_quote_name(name)}", "Null")


def trim_query_log(connection: EngineConnection) -> None:
    """Delete days of the query log whose time is over. The table's TTL does it only when parts happen to be merged."""
    rows = connection.query(_EXPIRED_LOG_DAYS, "JSONCompactEachRow").bytes().decode().splitlines()
    for table, partition in map(_parse_pair, rows):
        connection.query(f"ALTER TABLE system.{_quote_name(table)} DROP PARTITION ID '{partition}'", "Null")


def _parse_pair(line: str) -> tuple[str, str]:
    database, name = json.loads(line)
    return database, name


def _quote_name(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def describe_open_failure(text: str) -> str:
    """Return one clear line for the engine's error when it could not open its store."""
    if "Cannot lock file" in text or "Another server instance" in text:
        return "the ClickHouse store is in use by another process: stop that one, or take another directory"
    if "No space left" in text or "NOT_ENOUGH_SPACE" in text:
        return "no space left for the ClickHouse store: free some, or take another directory"
    return f"the ClickHouse engine does not start: {text.strip().splitlines()[0][:300]}"
