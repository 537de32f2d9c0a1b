"""ClickHouse's HTTP protocol as values: requests, refusals, headers, states. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import re2

MAX_HEAD_CHARACTERS = 1 << 20
MAX_TEXT_BYTES = 16 << 20
MAX_SESSION_S = 3600
DEFAULT_SESSION_S = 60

# The setting by which a query's owner and the client's query id travel, as `owner/id`: the name that remote() would add to its own,
# and remote() is closed.
CARRIER_SETTING = "chdb_client_name"

# Parameters of the protocol; every other one that is no `param_` is an engine setting.
RESERVED = frozenset({
    "query", "database", "user", "password", "quota_key", "stacktrace", "role", "session_id", "session_timeout", "session_check",
    "close_session", "query_id", "compress", "decompress", "default_format", "client_protocol_version", "framing",
    "enable_http_compression", "http_zlib_compression_level", "wait_end_of_query", "buffer_size", "send_progress_in_http_headers",
    "http_headers_progress_interval_ms", "http_write_exception_in_output_format", "cancel_http_readonly_queries_on_client_close",
    "network_compression_method",
})  # fmt: skip
# Formats whose chunks may be joined as they come; any other is one document.
STREAMABLE = frozenset({
    "Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary", "JSONEachRow", "JSONLines", "NDJSON",
    "JSONCompactEachRow", "LineAsString",
})  # fmt: skip
_BAD_REQUEST = (
    1, 3, 6, 25, 26, 27, 32, 33, 36, 38, 39, 40, 41, 43, 44, 53, 62, 69, 70, 72, 89, 117, 130, 168, 271, 354, 374, 386, 395, 448,
    452, 456, 457, 561, 578, 618, 636, 744,
)  # fmt: skip
_STATUS = (
    dict.fromkeys(_BAD_REQUEST, 400)
    | dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 81, 115, 132, 336, 372), 404)
    | dict.fromkeys((164, 192, 193, 194, 291, 497, 516), 403)
    | {48: 501, 159: 408, 202: 503, 209: 503, 210: 503, 229: 413, 373: 423, 381: 411}
)
_CODE = re2.compile(r"Code: (\d{1,9})\.")
_PREFIX = re2.compile(r"^(?:Streaming (?:query failed|insert \w+ failed): |Failed to \w+ (?:insert stream|streaming query): )+")
_REPEATED = re2.compile(r"Code: (\d{1,9})\. DB::\w*Exception: ")
_VERSION = re2.compile(r"\s*\(version [\d.]+[^()]*(?:\([^()]*\))?\)")
_SETTING = re2.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATABASE = re2.compile(r"[\pL\pN_.-]+")
_MAX_ERROR_CHARACTERS = 1 << 16
_MAX_REPEATED_CHARACTERS = 100
_SUMMARY = (
    "read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows", "result_bytes", "elapsed_ns",
)  # fmt: skip


class QueryRefused(Exception):
    """The request is answered with ClickHouse's error `code` and `name`."""

    def __init__(self, code: int, text: str, name: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text} ({name})")


class ClientDisconnected(Exception):
    """The client has disconnected, so no answer can be sent."""


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """One request, without its body. `parameters` keep their order; `values` is the last of each name."""

    method: str
    path: str
    headers: Mapping[str, str]
    parameters: Sequence[tuple[str, str]]
    values: Mapping[str, str]
    query_id: str

    @property
    def bound_parameters(self) -> dict[str, str]:
        """The query parameters `param_<name>`."""
        return {name[6:]: value for name, value in self.parameters if name.startswith("param_")}

    @property
    def session_s(self) -> float:
        """How long the session may idle.

        Raises:
            QueryRefused: when it is no number or longer than an hour.
        """
        text = self.values.get("session_timeout", str(DEFAULT_SESSION_S))
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > MAX_SESSION_S:
            raise QueryRefused(374, f"Invalid session timeout: whole seconds up to {MAX_SESSION_S}", "INVALID_SESSION_TIMEOUT")
        return float(text)

    def flag(self, name: str) -> bool:
        """Whether a switch of the protocol is on."""
        return self.values.get(name, "0").lower() in {"1", "true"}


def parse_request(scope: Mapping[str, Any], generated_id: str) -> QueryRequest:
    """Parse an ASGI scope; the query id is `generated_id` when the request brings none."""
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    query = scope["query_string"].decode("utf-8", "replace")
    parameters = parse_qsl(query, keep_blank_values=True, errors="replace")
    values = dict(parameters)
    query_id = values.get("query_id") or headers.get("x-clickhouse-query-id") or generated_id
    if not query_id.isprintable() or not query_id.isascii() or len(query_id) > 256:
        raise QueryRefused(36, "query_id: at most 256 printable ASCII characters", "BAD_ARGUMENTS")
    return QueryRequest(scope["method"], scope["path"], headers, parameters, values, query_id)


def credentials(request: QueryRequest) -> tuple[str, str]:
    """Return user and password, from the parameters, from ClickHouse's own headers, or from Basic authentication.

    Raises:
        QueryRefused: when the Authorization header cannot be read.
    """
    user = request.values.get("user") or request.headers.get("x-clickhouse-user")
    password = request.values.get("password") or request.headers.get("x-clickhouse-key")
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if user is None and kind.lower() == "basic":
        try:
            user, _, password = base64.b64decode(secret, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise QueryRefused(516, "Invalid Authorization header: not Basic with base64", "AUTHENTICATION_FAILED") from error
    return user or "default", password or ""


def owner_of(role: str, user: str) -> str:
    """Return the owner of a user's queries, by which the engine's row policies tell whose they are; it holds no slash."""
    return f"{role}.{user}"


def settings_of(request: QueryRequest) -> dict[str, str]:
    """Return the engine settings that a request brings.

    Raises:
        QueryRefused: for a name that cannot be a setting.
    """
    settings = {name: value for name, value in request.parameters if name not in RESERVED and not name.startswith("param_")}
    for name in settings:
        if not (name.isascii() and _SETTING.fullmatch(name)):
            raise QueryRefused(115, f"Unknown setting {name[:64]!a}", "UNKNOWN_SETTING")
    return settings


def database_of(request: QueryRequest) -> str | None:
    """Return the database that the request names, or None.

    Raises:
        QueryRefused: for a name that cannot be quoted safely.
    """
    name = request.values.get("database") or request.headers.get("x-clickhouse-database")
    if name and not _DATABASE.fullmatch(name):
        raise QueryRefused(81, f"Database {name[:64]!a} does not exist", "UNKNOWN_DATABASE")
    return name or None


def quote_literal(text: str) -> str:
    """Quote a text as a string literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def parse_error(text: str, version: str) -> tuple[int, str]:
    """Return code and message of an engine's error, as a ClickHouse server words them."""
    plain = text.strip().encode("utf-8", "replace").decode()[:_MAX_ERROR_CHARACTERS]
    text = _without_repetitions(_VERSION.sub("", _PREFIX.sub("", plain)))
    match = _CODE.match(text)
    if match is None:
        text = f"Code: 1001. DB::Exception: {text} (STD_EXCEPTION)"
    return int(match[1]) if match else 1001, f"{text} (version {version} (embedded))\n"


def _without_repetitions(text: str) -> str:
    """Return an error without the code and the class that each layer of the engine put in front of it again."""
    first = _REPEATED.match(text)
    if first is None or not text.startswith("DB::Exception: ", first.end() - len("DB::Exception: ")):
        return text
    end = first.end()
    while (again := _REPEATED.match(text[end : end + _MAX_REPEATED_CHARACTERS])) and again[1] == first[1]:
        end += again.end()
    return f"Code: {first[1]}. DB::Exception: {text[end:]}"


def status_of(code: int) -> int:
    """Return the HTTP status of an error code; 500 for a code that the protocol does not map."""
    return _STATUS.get(code, 500)


def error_trailer(message: bytes, tag: str) -> bytes:
    """Return the bytes that announce an error in the middle of a chunked answer, in the form that clients search for."""
    tag_bytes = tag.encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag_bytes, message, len(message), tag_bytes)


def summary_header(counts: Mapping[str, int]) -> str:
    """Return the value of X-ClickHouse-Summary."""
    return json.dumps({name: str(counts.get(name, 0)) for name in _SUMMARY})
