"""Find the calls in a decoded body: one call, or a batch of them. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from domain.instants import instant_ms
from domain.intake.call_fields import is_absent_object
from domain.intake.raw_json import without_key
from domain.intake.rejection import BodyProblem

CALL_TYPE_BY_PATH: Final = {
    "identify": "identify", "i": "identify", "track": "track", "t": "track", "page": "page", "p": "page", "screen": "screen",
    "s": "screen", "group": "group", "g": "group", "alias": "alias", "a": "alias", "merge": "merge",
}  # fmt: skip
"""The last part of the address, and the type that it gives to the call.

Onefold has no call of type `merge`: such a call goes into quarantine, and the answer names the reason.
"""
CALL_CENTRE_PATH: Final = "calls"
IMPORT_PATH: Final = "import"
BATCH_PATHS: Final = frozenset({"batch", "b", IMPORT_PATH, CALL_CENTRE_PATH})


@dataclass(frozen=True, slots=True)
class Envelope:
    """The calls of one body, and what the body or its address declares for all of them.

    `call_type` is the type that the address gives to every call. It is None for a batch, where each call names its own type.
    `sent_ms` is the batch's own `sentAt`.
    """

    calls: list[Any]
    call_type: str | None
    sent_ms: int | None
    shared_fields: dict[str, dict[str, Any]]
    """`context` and `integrations` of the batch. Each call inherits them under its own."""

    def call(self, index: int) -> Any:
        """Return a call with the batch's context and integrations filled in where the call has none of its own."""
        call = self.calls[index]
        if not isinstance(call, dict):
            return call
        for field, shared in self.shared_fields.items():
            own = call.get(field)
            if is_absent_object(own) or isinstance(own, dict):
                call = {**call, field: {**shared, **(own or {})}}
        return call


def single_calls(calls: list[Any]) -> Envelope:
    """Wrap calls that name their own types and share nothing: rows of a file, calls made from a webhook."""
    return Envelope(calls, None, None, {})


def parse_envelope(path: str, body: Any) -> Envelope | BodyProblem:
    """Return the calls of a decoded body, or why it holds none.

    `path` is the last part of the address: a key of CALL_TYPE_BY_PATH or a member of BATCH_PATHS. The address of the call centre
    also takes one event, or a list of events.
    """
    if path == CALL_CENTRE_PATH:
        if isinstance(body, list):
            return single_calls(body)
        if isinstance(body, dict) and "batch" not in body:
            return single_calls([without_key(body)])
    if not isinstance(body, dict):
        return BodyProblem.NOT_AN_OBJECT
    if path in CALL_TYPE_BY_PATH:
        return Envelope([without_key(body)], CALL_TYPE_BY_PATH[path], None, {})
    batch, shared = body.get("batch"), {field: body.get(field) for field in ("context", "integrations")}
    if not isinstance(batch, list) or not all(is_absent_object(value) or isinstance(value, dict) for value in shared.values()):
        return BodyProblem.NO_BATCH
    return Envelope(batch, None, instant_ms(body.get("sentAt")), {field: value for field, value in shared.items() if value})
