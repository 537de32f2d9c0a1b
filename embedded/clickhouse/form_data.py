"""Bodies of multipart/form-data, by which clients send a query whose parameters are too long for an address. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import re2

from embedded.clickhouse.protocol import QueryRefused, QueryRequest

FORM_MEDIA_TYPE = "multipart/form-data"
_BOUNDARY = re2.compile(r'(?i);\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))')
_NAME = re2.compile(r'(?im)^content-disposition:\s*form-data;\s*name="([^"\r\n]*)"(\s*;\s*filename)?')


def with_form(request: QueryRequest, body: bytes) -> QueryRequest:
    """Return the request with the fields of its form as parameters: `query`, and `param_<name>`.

    Raises:
        QueryRefused: for a body that is no such form, a field of another name, and a file (an external table).
    """
    boundary = _BOUNDARY.search(request.headers.get("content-type", ""))
    if boundary is None:
        raise _malformed("no boundary")
    fields = [_field(part) for part in _parts(body, b"--" + (boundary[1] or boundary[2]).encode("latin-1"))]
    parameters = [*request.parameters, *fields]
    return replace(request, parameters=parameters, values=dict(parameters))


def _parts(body: bytes, delimiter: bytes) -> Sequence[bytes]:
    """Return the parts between the delimiters, without the line breaks that belong to the delimiters."""
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise _malformed("its end is missing")
    return [piece.partition(b"\r\n")[2] for piece in pieces[1:-1]]


def _field(part: bytes) -> tuple[str, str]:
    head, _, value = part.partition(b"\r\n\r\n")
    name_match = _NAME.search(head.decode("utf-8", "replace"))
    if name_match is None:
        raise _malformed("a part has no name")
    if name_match[2]:
        text = "files in a form (external tables) are not supported by the embedded engine: use a temporary table in a session"
        raise QueryRefused(48, text, "NOT_IMPLEMENTED")
    if name_match[1] != "query" and not name_match[1].startswith("param_"):
        raise _malformed("a field is neither query nor param_<name>")
    try:
        return name_match[1], value.decode()
    except UnicodeDecodeError as error:
        raise _malformed("a field is not UTF-8") from error


def _malformed(why: str) -> QueryRefused:
    return QueryRefused(36, f"multipart/form-data: {why}", "BAD_ARGUMENTS")
