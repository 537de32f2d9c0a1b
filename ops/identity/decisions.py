"""What a person may decide, as records. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ops.identity.audit import Operation
from ops.identity.clusters import Known
from domain.identity.evidence import Decisions
from domain.identity.clusters import pair
from profile_store.port import Decision as Register
from runtime.errors import Invalid, Transient
from schemas.records import Decided, DecidedAction, DecidedKind

Decision = tuple[DecidedKind, str, str]

MAX_BY_CHARS: Final = 200
MAX_REASON_CHARS: Final = 1_000
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS: Final = 9
_NOISE_DIGITS: Final = 5
NOISE_BITS: Final = 5 * _NOISE_DIGITS


@dataclass(frozen=True, slots=True)
class Signed:
    """Who decides, and why."""

    name: str
    reason: str


def signed(by: str, reason: str) -> Signed:
    """The same, checked. Raises Invalid."""
    for path, text, most in (("by", by, MAX_BY_CHARS), ("reason", reason, MAX_REASON_CHARS)):
        if not text.strip() or len(text) > most:
            raise Invalid(f"{path} is empty or longer than {most:,} characters", path=path, reason="unusable_value")
    return Signed(by.strip(), reason.strip())


def operation_id(at_ms: int, noise: int) -> str:
    """A name for an operation: sorts by time (in base 32), then by `noise`, a random number of NOISE_BITS bits."""
    return "op-" + _base32(at_ms, _TIME_DIGITS) + _base32(noise, _NOISE_DIGITS)


def operation_ms(operation: str) -> int | None:
    """When an operation was named; None when it is no name of an operation."""
    digits = operation.removeprefix("op-")
    if len(digits) != _TIME_DIGITS + _NOISE_DIGITS or digits == operation or not set(digits) <= set(_DIGITS):
        return None
    at_ms = 0
    for digit in digits[:_TIME_DIGITS]:
        at_ms = at_ms * 32 + _DIGITS.index(digit)
    return at_ms


def _base32(number: int, digits: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in range(digits - 1, -1, -1))


def cut(known: Known, a: str, b: str) -> tuple[Decision, ...]:
    """Take the evidence of two nodes away. Raises Invalid when there is none, or it is cut already."""
    if a == b:
        raise Invalid("a and b are one identifier: there is nothing between them", path="b", reason="nothing_to_cut")
    key = pair(a, b)
    if key not in known.evidence.edges:
        raise Invalid(
            "the two were never seen together themselves, so there is no evidence to cut: "
            "if others join them, take the profile apart with `onefold identity split`",
            path="b",
            reason="nothing_to_cut",
        )
    held = known.evidence.decisions.get(("cut", *key))
    if held is not None and held.on:
        raise Invalid(f"the two are cut already, by operation {held.operation}", path="b", reason="nothing_to_cut")
    return (("cut", *key),)


def split(known: Known, members: Collection[str], moved: Collection[str]) -> tuple[Decision, ...]:
    """Cut every live edge between the moved nodes and the other members, and keep the strongest of each side apart.

    Raises Invalid when a part is empty.
    """
    kept = set(members) - set(moved)
    if not kept or not moved:
        raise Invalid("a split has two parts: name some identifiers, not none and not all", path="identifiers", reason="empty_part")
    cuts = [
        key
        for key in sorted(known.evidence.edges)
        if key not in known.resolution.dead and set(key) <= set(members) and (key[0] in kept) != (key[1] in kept)
    ]
    return (*(("cut", *key) for key in cuts), ("apart", *pair(min(kept), min(moved))))


def undo(operation: Operation, held: Decisions) -> tuple[Decision, ...]:
    """The pairs of an operation that nobody has decided anew since.

    Raises Invalid when there are none, Transient when the link agent has not come to the operation yet.
    """
    said = decision(operation)
    if any(key not in held or held[key].join(said) != held[key] for key in operation.pairs):
        raise Transient("the link agent has not applied this operation yet: try again")
    pairs = tuple(key for key in operation.pairs if held[key] == said)
    if not pairs:
        newer = ", ".join(sorted({held[key].operation for key in operation.pairs}))
        raise Invalid(
            f"nothing of this operation holds any more: {newer} came after it", path="operation", reason="nothing_to_undo"
        )
    return pairs


def decision(operation: Operation) -> Register:
    """What an operation says of each of its pairs."""
    return Register(operation.on, operation.at_ms, operation.name)


def record(
    action: DecidedAction,
    pairs: Sequence[Decision],
    held: Decisions,
    by: Signed,
    *,
    now_ms: int,
    noise: int,
    on: bool = True,
    of: str = "",
) -> Decided:
    """What goes to the log: later than all that was decided of these pairs, so that it holds."""
    at_ms = max([now_ms, *(held[key].at_ms + 1 for key in pairs if key in held)])
    return Decided(
        operation=operation_id(at_ms, noise),
        action=action,
        pairs=tuple(pairs),
        on=on,
        at_ms=at_ms,
        of=of,
        by=by.name,
        reason=by.reason,
    )
