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

from domain.fields import Strict, duration_text
from domain.segments.computed_traits import (AmountTrait, ComputedTraitSpec, CountTrait, RfmTrait, ValuesTrait)
from domain.segments.language import places
from domain.segments.leaf_models import AggregateLeaf, SequenceLeaf
from domain.segments.plan import Plan
from domain.segments.registers import (AMOUNT, MAX_AMOUNT, MAX_KEY_CHARS, Register)
from domain.segments.tree import leaf_of, registers_of

TEXT_BYTES: Final = 128
"""How long kept texts are taken to be, unless another length is asked for."""
_HEAD_BYTES: Final = 5
_LARGEST: Final = (1 << 63) - 1
_TIE: Final = "0" * 16
_ENCODER: Final = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Bound:
    """One register of a leaf or of a computed trait.

    `owner` is a segment's name, or `computed.NAME`; `path` the leaf as it was written; `entries` and `bytes` the most that is kept
    per identifier; `exact_while` says up to where the answer is exact, empty when it always is; `shared` are the other owners that
    read the same register.
    """

    owner: str
    path: str
    register: Register
    entries: int
    bytes: int
    exact_while: str
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Total:
    """What an owner's registers keep together per identifier, each counted once. Shared ones count for every owner."""

    owner: str
    entries: int
    bytes: int


def bounds(plan: Plan, text_bytes: int = TEXT_BYTES) -> list[Bound]:
    """Every register of every segment, then of every computed trait. Leaves that keep nothing have none."""
    found: list[tuple[str, str, Register, str]] = []
    for name, segment in plan.segments.items():
        for path, node in places(segment.spec.where):
            found += _of(plan, name, path, leaf_of(node), registers_of(node))
    for name, computation in plan.computed.items():
        found += _of(plan, f"computed.{name}", computation.spec.kind, computation.spec, computation.registers)
    readers: dict[str, set[str]] = {}
    for owner, _, register, _ in found:
        readers.setdefault(register.key, set()).add(owner)
    return [
        Bound(
            owner=owner,
            path=path,
            register=register,
            entries=entries_of(register),
            bytes=bytes_of(register, text_bytes),
            exact_while=exact_while,
            shared=tuple(sorted(readers[register.key] - {owner})),
        )
        for owner, path, register, exact_while in found
    ]


def totals(found: Iterable[Bound]) -> list[Total]:
    """What each owner keeps, in the order of the bounds; last, with an empty name, all of them together."""
    held: dict[str, dict[str, Bound]] = {}
    together: dict[str, Bound] = {}
    for bound in found:
        held.setdefault(bound.owner, {})[bound.register.key] = bound
        together[bound.register.key] = bound
    return [
        Total(owner, sum(one.entries for one in registers.values()), sum(one.bytes for one in registers.values()))
        for owner, registers in [*held.items(), ("", together)]
    ]


def entries_of(register: Register) -> int:
    """The most entries (of a tally: counted values) that are kept per identifier."""
    return 1 if _one_key(register) else register.keep


def bytes_of(register: Register, text_bytes: int = TEXT_BYTES) -> int:
    """The most bytes that a register takes in a fragment, its key counted."""
    if register.form == "tally":
        name = "x" * text_bytes if register.take == "value" else ""
        one = _size(name) + _size((_LARGEST, _LARGEST, _LARGEST))
    else:
        one = _size(_largest_entry(register, text_bytes))
    return _size(register.key) + _HEAD_BYTES + one * entries_of(register)


def _largest_entry(register: Register, text_bytes: int) -> tuple[int, str, Any]:
    tie = {"periods": "", "largest": "", "smallest": ""}.get(register.form, _TIE)
    if register.take in ("consent", "subscription"):
        tie += "0"
    value: Any = None
    match register.take:
        case "amount" | "amount_or_nothing" if register.form == "newest":
            value = MAX_AMOUNT * AMOUNT
        case "value":
            value = "x" * max(text_bytes, 9)
        case "key":
            value = "x" * min(MAX_KEY_CHARS * 4, (text_bytes + 1) * len(register.of))
        case "having" | "consent" | "subscription":
            value = True
    return _LARGEST, tie, value


def _size(value: Any) -> int:
    return len(_ENCODER.encode(value))


def _one_key(register: Register) -> bool:
    """All entries have the same, empty key: the newest stands for all."""
    return register.form == "newest_of_each" and register.take == "key" and not register.of


def _of(plan: Plan, owner: str, path: str, leaf: Any, needed: Sequence[Register]) -> list[tuple[str, str, Register, str]]:
    registers = [plan.registers[register.key] for register in needed]
    parts = _parts(leaf, len(registers))
    return [
        (owner, f"{path}{part}", register, limit(leaf, register)) for part, register in zip(parts, registers, strict=True)
    ]  # fmt: skip


def _parts(leaf: Any, registers: int) -> tuple[str, ...]:
    if isinstance(leaf, SequenceLeaf):
        return ".first", ".then" if leaf.then is not None else ".then_not"
    return ("",) * registers


@singledispatch
def limit(_leaf: Strict, _register: Register) -> str:
    """Up to where the answer of a leaf, or of a computed trait, is exact, of a register as large as the plan makes it."""
    return ""


@limit.register
def _(leaf: AggregateLeaf, register: Register) -> str:
    return "" if leaf.of == "distinct" or register.form != "newest" else _events(register, leaf.within)


@limit.register
def _(leaf: SequenceLeaf, register: Register) -> str:
    if _one_key(register):
        return ""
    return _events(register, leaf.first.within, "different values of " + ", ".join(register.of))


@limit.register
def _(spec: ComputedTraitSpec, register: Register) -> str:
    inner = getattr(spec, spec.kind)
    if isinstance(inner, CountTrait | AmountTrait | RfmTrait | ValuesTrait) and (
        register.form == "newest" or isinstance(inner, ValuesTrait)
    ):
        return _events(register, inner.within)
    return ""


def _events(register: Register, within: int | None, each: str = "different values") -> str:
    what = "such events" if register.form == "newest" else each
    where = "have come" if within is None else f"are within {duration_text(within)}"
    return f"at most {register.keep - 1} {what} {where}"
