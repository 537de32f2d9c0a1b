"""What definitions cost, known before any event comes: the most kept per identifier, and up to where answers are exact. Pure.

Bytes are counted by encoding the largest entry that a register can hold, as fragments are encoded (MessagePack), with texts of
`text_bytes` bytes as they are kept. State is per identifier: a customer with three has it three times at most. What several leaves
read is kept once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Final

import msgspec

from domain.fields import StrictModel, format_duration
from domain.segments.computed_traits import AmountTrait, ComputedTraitSpec, CountTrait, RfmTrait, ValuesTrait
from domain.segments.language import nodes_with_paths
from domain.segments.leaf_models import AggregateLeaf, SequenceLeaf
from domain.segments.plan import SegmentPlan
from domain.segments.registers import AMOUNT_SCALE, MAX_AMOUNT, MAX_KEY_CHARS, Register
from domain.segments.tree import leaf_of, registers_of

TEXT_BYTES: Final = 128
"""How long kept texts are taken to be, unless another length is asked for."""
_HEAD_BYTES: Final = 5
_MAX_INTEGER: Final = (1 << 63) - 1
_TIE_BREAKER: Final = "0" * 16
_ENCODER: Final = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class RegisterBound:
    """One register of a leaf or of a computed trait.

    `owner` is a segment's name, or `computed.NAME`; `path` the leaf as it was written; `entries` and `bytes` the most that is kept
    per identifier; `exact_while` says up to where the answer is exact, empty when it always is; `shared_with` are the other
    owners that
    read the same register.
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
    """What an owner's registers keep together per identifier, each counted once. Shared ones count for every owner."""

    owner: str
    entries: int
    bytes: int


def register_bounds(plan: SegmentPlan, text_bytes: int = TEXT_BYTES) -> list[RegisterBound]:
    """Every register of every segment, then of every computed trait. Leaves that keep nothing have none."""
    usages: list[tuple[str, str, Register, str]] = []
    for name, spec in plan.segments.items():
        for path, node in nodes_with_paths(spec.where):
            usages += _plan_registers_of(plan, name, path, leaf_of(node), registers_of(node))
    for name, computation in plan.computed.items():
        usages += _plan_registers_of(plan, f"computed.{name}", computation.spec.kind, computation.spec, computation.registers)
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


def owner_totals(register_bounds_found: Iterable[RegisterBound]) -> list[OwnerTotal]:
    """What each owner keeps, in the order of the bounds; last, with an empty name, all of them together."""
    by_owner: dict[str, dict[str, RegisterBound]] = {}
    all_registers: dict[str, RegisterBound] = {}
    for bound in register_bounds_found:
        by_owner.setdefault(bound.owner, {})[bound.register.key] = bound
        all_registers[bound.register.key] = bound
    return [
        OwnerTotal(owner, sum(owned.entries for owned in registers.values()), sum(one.bytes for one in registers.values()))
        for owner, registers in [*by_owner.items(), ("", all_registers)]
    ]


def max_entries_of(register: Register) -> int:
    """The most entries (of a tally: counted values) that are kept per identifier."""
    return 1 if _has_single_key(register) else register.capacity


def max_bytes_of(register: Register, text_bytes: int = TEXT_BYTES) -> int:
    """The most bytes that a register takes in a fragment, its key counted."""
    if register.form == "tally":
        name = "x" * text_bytes if register.extract == "value" else ""
        entry_size = _encoded_size(name) + _encoded_size((_MAX_INTEGER, _MAX_INTEGER, _MAX_INTEGER))
    else:
        entry_size = _encoded_size(_largest_entry(register, text_bytes))
    return _encoded_size(register.key) + _HEAD_BYTES + entry_size * max_entries_of(register)


def _largest_entry(register: Register, text_bytes: int) -> tuple[int, str, Any]:
    tie_breaker = {"periods": "", "largest": "", "smallest": ""}.get(register.form, _TIE_BREAKER)
    if register.extract in ("consent", "subscription"):
        tie_breaker += "0"
    value: Any = None
    match register.extract:
        case "amount" | "amount_or_nothing" if register.form == "newest":
            value = MAX_AMOUNT * AMOUNT_SCALE
        case "value":
            value = "x" * max(text_bytes, 9)
        case "key":
            value = "x" * min(MAX_KEY_CHARS * 4, (text_bytes + 1) * len(register.paths))
        case "having" | "consent" | "subscription":
            value = True
    return _MAX_INTEGER, tie_breaker, value


def _encoded_size(value: Any) -> int:
    return len(_ENCODER.encode(value))


def _has_single_key(register: Register) -> bool:
    """All entries have the same, empty key: the newest stands for all."""
    return register.form == "newest_of_each" and register.extract == "key" and not register.paths


def _plan_registers_of(
    plan: SegmentPlan, owner: str, path: str, leaf: Any, required_registers: Sequence[Register]
) -> list[tuple[str, str, Register, str]]:
    registers = [plan.registers[register.key] for register in required_registers]
    suffixes = _path_suffixes(leaf, len(registers))
    return [
        (owner, f"{path}{suffix}", register, exactness_limit(leaf, register))
        for suffix, register in zip(suffixes, registers, strict=True)
    ]


def _path_suffixes(leaf: Any, register_count: int) -> tuple[str, ...]:
    if isinstance(leaf, SequenceLeaf):
        return ".first", ".then" if leaf.then is not None else ".then_not"
    return ("",) * register_count


@singledispatch
def exactness_limit(_leaf: StrictModel, _register: Register) -> str:
    """Up to where the answer of a leaf, or of a computed trait, is exact, of a register as large as the plan makes it."""
    return ""


@exactness_limit.register
def _(leaf: AggregateLeaf, register: Register) -> str:
    return "" if leaf.of == "distinct" or register.form != "newest" else _limit_text(register, leaf.within)


@exactness_limit.register
def _(leaf: SequenceLeaf, register: Register) -> str:
    if _has_single_key(register):
        return ""
    return _limit_text(register, leaf.first.within, "different values of " + ", ".join(register.paths))


@exactness_limit.register
def _(spec: ComputedTraitSpec, register: Register) -> str:
    inner = getattr(spec, spec.kind)
    if isinstance(inner, CountTrait | AmountTrait | RfmTrait | ValuesTrait) and (
        register.form == "newest" or isinstance(inner, ValuesTrait)
    ):
        return _limit_text(register, inner.within)
    return ""


def _limit_text(register: Register, within: int | None, distinct_text: str = "different values") -> str:
    counted_text = "such events" if register.form == "newest" else distinct_text
    window_text = "have come" if within is None else f"are within {format_duration(within)}"
    return f"at most {register.capacity - 1} {counted_text} {window_text}"
