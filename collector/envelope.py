"""What a request's body holds: one call, or a batch of them. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from collector.problems import Problem
from schemas.intake_values import instant_ms

KINDS: Final = {
    "identify": "identify", "i": "identify", "track": "track", "t": "track", "page": "page", "p": "page", "screen": "screen",
    "s": "screen", "group": "group", "g": "group", "alias": "alias", "a": "alias",
}  # fmt: skip
BATCHES: Final = frozenset({"batch", "b", "import"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """`kind` is the type that the address gives to every call; None in a batch, where each names its own."""

    calls: list[Any]
    kind: str | None
    sent_ms: int | None
    context: dict[str, Any] | None

    def call(self, index: int) -> Any:
        """A call with the batch's context under its own."""
        call = self.calls[index]
        if self.context and isinstance(call, dict):
            own = call.get("context")
            if own is None or isinstance(own, dict):
                return {**call, "context": {**self.context, **(own or {})}}
        return call


def envelope(path: str, body: Any) -> Envelope | Problem:
    """The calls of a decoded body; `path` is the last part of the address, a key of KINDS or one of BATCHES."""
    if not isinstance(body, dict):
        return Problem.NOT_AN_OBJECT
    if path in KINDS:
        # The key is a secret: it must not get into quarantine.
        return Envelope([{name: value for name, value in body.items() if name != "writeKey"}], KINDS[path], None, None)
    batch, context = body.get("batch"), body.get("context")
    if not isinstance(batch, list) or not (context is None or isinstance(context, dict)):
        return Problem.NO_BATCH
    return Envelope(batch, None, instant_ms(body.get("sentAt")), context)
