"""What a request's body holds: one call, or a batch of them. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from collector.problems import Problem
from domain.intake.values import instant_ms

CALL_TYPE_BY_PATH: Final = {
    "identify": "identify", "i": "identify", "track": "track", "t": "track", "page": "page", "p": "page", "screen": "screen",
    "s": "screen", "group": "group", "g": "group", "alias": "alias", "a": "alias", "merge": "merge",
}  # fmt: skip
"""The type that an address gives. `merge` is none that Onefold has: such a call goes into quarantine, and the answer says so."""
CALL_CENTRE_PATH: Final = "calls"
BATCH_PATHS: Final = frozenset({"batch", "b", "import", CALL_CENTRE_PATH})


@dataclass(frozen=True, slots=True)
class Envelope:
    """`call_type` is the type that the address gives to every call; None in a batch, where each names its own."""

    calls: list[Any]
    call_type: str | None
    sent_ms: int | None
    shared_fields: dict[str, dict[str, Any]]
    """What the batch says for all of its calls: `context`, `integrations`."""

    def call(self, index: int) -> Any:
        """A call with the batch's context and integrations under its own."""
        call = self.calls[index]
        if not isinstance(call, dict):
            return call
        for field, shared in self.shared_fields.items():
            own = call.get(field)
            if own is None or isinstance(own, dict):
                call = {**call, field: {**shared, **(own or {})}}
        return call


def parse_envelope(path: str, body: Any) -> Envelope | Problem:
    """The calls of a decoded body; `path` is the last part of the address, a key of KINDS or one of BATCHES.

    The address of the call centre takes one event and a list of them too.
    """
    if path == CALL_CENTRE_PATH:
        if isinstance(body, list):
            return Envelope(body, None, None, {})
        if isinstance(body, dict) and "batch" not in body:
            return Envelope([call_without_key(body)], None, None, {})
    if not isinstance(body, dict):
        return Problem.NOT_AN_OBJECT
    if path in CALL_TYPE_BY_PATH:
        # The key is a secret: it must not get into quarantine.
        return Envelope([{name: value for name, value in body.items() if name != "writeKey"}], CALL_TYPE_BY_PATH[path], None, {})
    batch, shared = body.get("batch"), {field: body.get(field) for field in ("context", "integrations")}
    if not isinstance(batch, list) or not all(value is None or isinstance(value, dict) for value in shared.values()):
        return Problem.NO_BATCH
    return Envelope(batch, None, instant_ms(body.get("sentAt")), {field: value for field, value in shared.items() if value})


def call_without_key(body: dict[str, Any]) -> dict[str, Any]:
    """The call without its write key: a secret, which must not get into quarantine."""
    return {name: value for name, value in body.items() if name != "writeKey"}
