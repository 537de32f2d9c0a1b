"""How much state definitions need at most, and up to where their answers are exact, before any event comes. Pure.

Bytes are counted by encoding the largest entry that a register can hold, as fragments are encoded (MessagePack), with
texts of `text_bytes` bytes. State is stored per identifier: a customer with three identifiers has it three times at
most. A register that several leaves read is stored once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from domain.segments.computed_traits import AmountTrait, ComputedTraitSpec, CountTrait, RfmTrait, ValuesTrait
from domain.segments.language import nodes_with_paths
from domain.segments.leaves.leaf import LeafCondition
from domain.segments.phrases import exactness_text
from domain.segments.plan import SegmentPlan
from domain.segments.registers import AMOUNT_SCALE, MAX_AMOUNT, MAX_KEY_CHARS, Register
from domain.segments.value_counts import REMEMBERED_PER_CAPACITY, SKETCH_COLUMNS

TEXT_BYTES: Final = 128
"""How long stored texts are assumed to be, unless the caller gives another length."""
# The longest head of a MessagePack array or map: one byte for the type and four for the length.
_HEAD_BYTES: Final = 5
# As long as MessagePack writes any integer, 9 bytes. So the bound also covers times and amounts that never occur.
_MAX_INTEGER: Final = (1 << 63) - 1
_TIE_BREAKER: Final = "0" * 16
_ENCODER: Final = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class RegisterBound:
    """One use of a register by a leaf or a computed trait.

    `owner` is a segment's name, or `computed.NAME`; `path` is the leaf as it was written. `entries` and `bytes` are the
    most that is stored per identifier. `exact_while` says up to where the answer is exact, empty when it always is.
    `shared_with` are the other owners that read the same register.
    """

    owner: str
    path: str
    register: Register
    entries: int
    bytes: int
    exact_while: str
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnerTotal:
    """What the registers of one owner store together per identifier, each counted once. A shared one counts for every owner."""

    owner: str
    entries: int
    bytes: int


def register_bounds(plan: SegmentPlan, text_bytes: int = TEXT_BYTES) -> list[RegisterBound]:
    """Return every use of a register by a segment, then by a computed trait. Leaves without state have none."""
    usages = list(_bound_usages(plan))
    readers: dict[str, set[str]] = {}
    for owner, _, register, _ in usages:
        readers.setdefault(register.key, set()).add(owner)
    return [
        RegisterBound(
            owner=owner,
            path=path,
            register=register,
            entries=max_entries_of(register),
            bytes=max_bytes_of(register, text_bytes),
            exact_while=exact_while,
            shared_with=tuple(sorted(readers[register.key] - {owner})),
        )
        for owner, path, register, exact_while in usages
    ]


def owner_totals(bounds: Iterable[RegisterBound]) -> list[OwnerTotal]:
    """Return what each owner stores, in the order of the bounds; last, with an empty name, all owners together."""
    by_owner: dict[str, dict[str, RegisterBound]] = {}
    all_registers: dict[str, RegisterBound] = {}
    for bound in bounds:
        by_owner.setdefault(bound.owner, {})[bound.register.key] = bound
        all_registers[bound.register.key] = bound
    return [
        OwnerTotal(owner, sum(bound.entries for bound in registers.values()), sum(bound.bytes for bound in registers.values()))
        for owner, registers in [*by_owner.items(), ("", all_registers)]
    ]


def max_entries_of(register: Register) -> int:
    """Return the most entries (of a tally: counted values, and the columns of their sketch) that are stored per identifier."""
    if register.form == "tally" and register.extract == "value":
        return register.capacity * REMEMBERED_PER_CAPACITY + SKETCH_COLUMNS + 1
    return 1 if register.has_single_key else register.capacity


def max_bytes_of(register: Register, text_bytes: int = TEXT_BYTES) -> int:
    """Return the most bytes that a register takes in a fragment, including its key."""
    if register.form == "tally":
        return _encoded_size(register.key) + _HEAD_BYTES + _max_tally_bytes(register, text_bytes)
    entry_size = _encoded_size(_largest_entry(register, text_bytes))
    return _encoded_size(register.key) + _HEAD_BYTES + entry_size * max_entries_of(register)


def _max_tally_bytes(register: Register, text_bytes: int) -> int:
    counts = _encoded_size((_MAX_INTEGER, _MAX_INTEGER, _MAX_INTEGER))
    if register.extract != "value":
        return _encoded_size("") + counts
    remembered = register.capacity * REMEMBERED_PER_CAPACITY * (_encoded_size("x" * text_bytes) + counts)
    return remembered + (SKETCH_COLUMNS + 1) * (_encoded_size(f"#{SKETCH_COLUMNS}") + counts)


def _largest_entry(register: Register, text_bytes: int) -> tuple[int, str, Any]:
    # These forms have no tie-breaker: entries of equal order are the same entry (see `Register.entry`).
    tie_breaker = {"periods": "", "largest": "", "smallest": ""}.get(register.form, _TIE_BREAKER)
    # `Register.entry` puts one digit before the tie-breaker, so that taking back consent wins at the same millisecond.
    if register.extract in ("consent", "subscription"):
        tie_breaker += "0"
    value: Any = None
    match register.extract:
        # In the forms `largest` and `smallest` the amount is the order itself, which _MAX_INTEGER already covers.
        case "amount" | "amount_or_nothing" if register.form == "newest":
            value = MAX_AMOUNT * AMOUNT_SCALE
        case "value":
            # A value may also be a number, which takes 9 bytes however short the texts are assumed to be.
            value = "x" * max(text_bytes, 9)
        case "key":
            # A character takes up to 4 bytes in UTF-8. The 1 is the letter with which a canonical text begins.
            value = "x" * min(MAX_KEY_CHARS * 4, (text_bytes + 1) * len(register.paths))
        case "having" | "consent" | "subscription":
            value = True
    return _MAX_INTEGER, tie_breaker, value


def _encoded_size(value: Any) -> int:
    return len(_ENCODER.encode(value))


def _bound_usages(plan: SegmentPlan) -> Iterator[tuple[str, str, Register, str]]:
    """Yield (owner, path, register as large as the plan makes it, exactness) for every use of a register."""
    for name, spec in plan.segments.items():
        for path, node in nodes_with_paths(spec.where):
            if not isinstance(node, LeafCondition):
                continue
            for suffix, required in zip(node.register_paths(), node.registers(), strict=True):
                register = plan.registers[required.key]
                yield name, f"{path}{suffix}", register, node.exactness_limit(register)
    for name, computation in plan.computed.items():
        for register in computation.registers:
            yield f"computed.{name}", computation.spec.kind, register, computed_exactness_limit(computation.spec, register)


def computed_exactness_limit(spec: ComputedTraitSpec, register: Register) -> str:
    """Return up to where a computed trait is exact with a register of this size; empty when it always is."""
    computation = getattr(spec, spec.kind)
    if isinstance(computation, CountTrait | AmountTrait | RfmTrait | ValuesTrait) and (
        register.form == "newest" or isinstance(computation, ValuesTrait)
    ):
        return exactness_text(register, computation.within)
    return ""
