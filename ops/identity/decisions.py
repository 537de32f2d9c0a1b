"""Decisions of a person about identity, as records for the link agent. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from domain.identity.model import Decision as StoredDecision
from domain.identity.model import Decisions, ordered_pair
from ops.identity.audit import IdentityOperation
from ops.identity.clusters import ResolvedClusters
from runtime.errors import Invalid, Transient
from schemas.records import DecisionAction, DecisionKind, LinkDecision

DecisionKey = tuple[DecisionKind, str, str]

MAX_BY_CHARS: Final = 200
MAX_REASON_CHARS: Final = 1_000
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS: Final = 9
_NOISE_DIGITS: Final = 5
NOISE_BITS: Final = 5 * _NOISE_DIGITS


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who decides, and why: both are stored with the decision."""

    name: str
    reason: str


def check_attribution(name: str, reason: str) -> Attribution:
    """Return the attribution without surrounding blanks. Raises Invalid when a part is empty or too long."""
    for path, text, max_chars in (("by", name, MAX_BY_CHARS), ("reason", reason, MAX_REASON_CHARS)):
        if not text.strip() or len(text) > max_chars:
            raise Invalid(f"{path} is empty or longer than {max_chars:,} characters", path=path, reason="unusable_value")
    return Attribution(name.strip(), reason.strip())


def operation_id(at_ms: int, noise: int) -> str:
    """Return the id of an operation: it sorts by time (in base 32), then by `noise`, a random number of NOISE_BITS bits."""
    return "op-" + _base32(at_ms, _TIME_DIGITS) + _base32(noise, _NOISE_DIGITS)


def operation_time_ms(operation: str) -> int | None:
    """Return when an operation was named, in ms; None for a text that is not the id of an operation."""
    digits = operation.removeprefix("op-")
    if len(digits) != _TIME_DIGITS + _NOISE_DIGITS or digits == operation or not set(digits) <= set(_DIGITS):
        return None
    at_ms = 0
    for digit in digits[:_TIME_DIGITS]:
        at_ms = at_ms * 32 + _DIGITS.index(digit)
    return at_ms


def _base32(number: int, digits: int) -> str:
    return "".join(_DIGITS[number >> 5 * position & 31] for position in range(digits - 1, -1, -1))


def decide_cut(clusters: ResolvedClusters, a: str, b: str) -> tuple[DecisionKey, ...]:
    """Decide to cut the evidence between two nodes. Raises Invalid when there is no evidence, or when it is cut already."""
    if a == b:
        raise Invalid("a and b are one identifier: there is nothing between them", path="b", reason="nothing_to_cut")
    key = ordered_pair(a, b)
    if key not in clusters.evidence.edges:
        raise Invalid(
            "no event names the two together, so there is no evidence to cut: "
            "if others join them, take the profile apart with `onefold identity split`",
            path="b",
            reason="nothing_to_cut",
        )
    existing = clusters.evidence.decisions.get(("cut", *key))
    if existing is not None and existing.on:
        raise Invalid(f"the two are cut already, by operation {existing.operation}", path="b", reason="nothing_to_cut")
    return (("cut", *key),)


def decide_split(clusters: ResolvedClusters, members: Collection[str], moved: Collection[str]) -> tuple[DecisionKey, ...]:
    """Decide to cut every live edge between the moved nodes and the other members, and to keep the strongest of each side apart.

    Raises Invalid when a part is empty.
    """
    staying = set(members) - set(moved)
    if not staying or not moved:
        raise Invalid("a split has two parts: name some identifiers, not none and not all", path="identifiers", reason="empty_part")
    cuts = [
        key
        for key in sorted(clusters.evidence.edges)
        if key not in clusters.resolution.dead_edges and set(key) <= set(members) and (key[0] in staying) != (key[1] in staying)
    ]
    return (*(("cut", *key) for key in cuts), ("apart", *ordered_pair(min(staying), min(moved))))


def decide_undo(operation: IdentityOperation, stored: Decisions) -> tuple[DecisionKey, ...]:
    """Return the pairs of an operation that no later operation has decided.

    Raises Invalid when no such pair is left, Transient when the link agent has not applied the operation yet.
    """
    own_decision = decision_of(operation)
    if any(key not in stored or stored[key].join(own_decision) != stored[key] for key in operation.pairs):
        raise Transient("the link agent has not applied this operation yet: try again")
    pairs = tuple(key for key in operation.pairs if stored[key] == own_decision)
    if not pairs:
        newer = ", ".join(sorted({stored[key].operation for key in operation.pairs}))
        raise Invalid(f"later operations have decided all of its pairs: {newer}", path="operation", reason="nothing_to_undo")
    return pairs


def decision_of(operation: IdentityOperation) -> StoredDecision:
    """Return the decision that an operation stored for each of its pairs."""
    return StoredDecision(operation.on, operation.at_ms, operation.name)


def build_record(
    action: DecisionAction,
    pairs: Sequence[DecisionKey],
    stored: Decisions,
    attribution: Attribution,
    *,
    now_ms: int,
    noise: int,
    on: bool = True,
    of: str = "",
) -> LinkDecision:
    """Build the record of a decision, with an instant after all stored decisions about its pairs, so that it supersedes them."""
    at_ms = max([now_ms, *(stored[key].at_ms + 1 for key in pairs if key in stored)])
    return LinkDecision(
        operation=operation_id(at_ms, noise),
        action=action,
        pairs=tuple(pairs),
        on=on,
        at_ms=at_ms,
        of=of,
        by=attribution.name,
        reason=attribution.reason,
    )
