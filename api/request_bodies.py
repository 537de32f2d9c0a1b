"""Reading bodies of requests: JSON objects of a declared type, up to a limit."""

from typing import Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from runtime.errors import Invalid
from schemas.codec import describe_mismatch

MAX_BODY_BYTES: Final = 256 * 1024

B = TypeVar("B", bound=msgspec.Struct)


async def read_body(request: Request, body_type: type[B], max_bytes: int = MAX_BODY_BYTES) -> B:
    """Read and decode the body of a request.

    Raises HTTPException (413) as soon as more than `max_bytes` have come, and Invalid, which names the field and never its
    value, for a body that is not JSON or not of the type.
    """
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > max_bytes:
                raise HTTPException(413, f"the body is larger than {max_bytes} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended before the body did") from None
    try:
        return msgspec.json.decode(raw, type=body_type)
    except msgspec.ValidationError as error:
        raise Invalid(f"the body is invalid: {_describe(error)}", path="body", reason="bad_body") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("the body is not JSON", path="body", reason="bad_body") from None


def _describe(error: msgspec.ValidationError) -> str:
    """Return what is wrong. The name of an unknown field is left out: the client chose it, and it may be personal data."""
    return "it has an unknown field" if "unknown field" in str(error) else describe_mismatch(error)
