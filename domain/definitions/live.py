"""The definitions in force: a pure fold over the records of the `definitions` topic.

The topic is compacted: of each key (`Segment/vip`) the last record counts, and a record without a value removes the definition.
Every process feeds the records to a LiveDefinitions in their order, and asks for the views that it needs: the segment plan, the
identity rules, the sources, the admission of events.

Invariants:
- A record that cannot be read is noted among `bad_records`, and its definition is not in force, as if it had been removed
  (`topic_records` has the reason). Every process that follows the topic therefore works by the same definitions, whenever it
  started. The identity rules are the exception: customers that other rules have merged cannot be told apart for those who were
  written to meanwhile. So while the record of the rules cannot be read, `rules` raises UnreadableRules, and what needs them waits.
- A view is compiled when somebody asks for it after a change, not at each record. Example: a topic of 700 segments that is read
  at the start makes one plan, not 700.
- `next_offset` grows with every record, also with one that cannot be used: all records before it are taken into account. Agents
  compare it with the offset that a stored state was computed with (see `Checkpoint.definitions_offset`).
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from domain.definitions.admission_rules import admission_rules
from domain.definitions.kinds import RULES_KEY, AnyDefinition, IdentityRules, InvalidDefinition, Segment, Source
from domain.definitions.segment_plan import segment_plan_of
from domain.definitions.topic_records import BadRecord, decode_key, decode_record, describe_key
from domain.identity.namespaces import Namespaces
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from domain.intake.admission import Admission
from domain.segments.plan import CyclicSegments, SegmentPlan, sort_by_reference

EVERY_KIND: Final = ("",)
_ADMISSION_KINDS: Final = ("Source/", "TrackingPlan/")
_PLAN_KINDS: Final = ("Segment/", "ComputedTrait/", "List/")

D = TypeVar("D", bound=AnyDefinition)
ReportBad = Callable[[BadRecord], None]
"""Called with each record that cannot be read, and each definition that cannot be used beside the others."""


class UnreadableRules(InvalidDefinition):
    """The newest record of the identity rules cannot be read, so nothing may be decided by rules until it is replaced."""

    def __init__(self) -> None:
        super().__init__(
            "the identity rules cannot be read, and nothing is merged by other ones: apply them again, or see "
            "`onefold definitions list --bad`"
        )


def ignore_bad(record: BadRecord) -> None:
    """Drop the report."""


ShowBadRecords = Callable[[int], None]
"""Called after changes with the number of records that cannot be read."""


def ignore_count(records: int) -> None:
    """Show nothing."""


class LiveDefinitions:
    """The definitions in force, of the kinds whose keys start with one of `prefixes`; records of other kinds are ignored.

    `secret` and `country` compile the identity rules; a process that does not ask for `rules` leaves them out. Views change with
    the records, so a caller asks anew for each batch that it works on.
    """

    def __init__(
        self,
        *,
        prefixes: tuple[str, ...] = EVERY_KIND,
        secret: bytes = b"",
        country: str = "",
        admission: Admission | None = None,
        report_bad: ReportBad = ignore_bad,
    ) -> None:
        self._prefixes = prefixes
        self._secret = secret
        self._country = country
        self._admission = admission or Admission()
        self._admission_is_stale = False
        self._report_bad = report_bad
        self._definitions: dict[str, AnyDefinition] = {}
        self._bad: dict[bytes, BadRecord] = {}
        """By the hash of the key, because a key may be as large as a record."""
        self._left_out: dict[str, BadRecord] = {}
        """The segments that the plan leaves out."""
        self._offsets: dict[str, int] = {}
        self._changed_keys: set[str] = set()
        self._plan: SegmentPlan | None = SegmentPlan()
        self._rules: CompiledIdentityRules | None = DEFAULT_RULES
        self._rules_spec = IdentityRulesSpec()
        self._rules_offset = 0
        self.next_offset = 0
        """The first offset of the topic that is not taken into account yet."""

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take in the record at `offset`. One that cannot be read is reported, and its definition is not in force from then on."""
        self.next_offset = offset + 1
        key_hash = hashlib.blake2b(key or b"", digest_size=16).digest()
        self._bad.pop(key_hash, None)
        try:
            name = decode_key(key)
        except InvalidDefinition as error:
            if value is not None:
                self._note_bad(key_hash, BadRecord(offset, describe_key(key), str(error)))
            return
        if not name.startswith(self._prefixes):
            return
        definition: AnyDefinition | None = None
        try:
            definition = None if value is None else decode_record(name, value)
        except InvalidDefinition as error:
            self._note_bad(key_hash, BadRecord(offset, describe_key(key), str(error)))
        self._replace(name, definition, offset)

    def _note_bad(self, key_hash: bytes, record: BadRecord) -> None:
        self._bad[key_hash] = record
        self._report_bad(record)

    def _replace(self, name: str, definition: AnyDefinition | None, offset: int) -> None:
        """Let this definition be the one under its key, or none."""
        # Removed first, so that the dictionary is in the order of the last records: of segments that form a circle the one that
        # closed it is left out, and not the ones that were in force before.
        self._definitions.pop(name, None)
        if definition is not None:
            self._definitions[name] = definition
        self._offsets[name] = offset
        self._changed_keys.add(name)
        if name.startswith(_PLAN_KINDS):
            self._plan = None
        if name.startswith(_ADMISSION_KINDS):
            self._admission_is_stale = True
        if name == RULES_KEY:
            self._rules = None
            self._rules_spec = definition.spec if isinstance(definition, IdentityRules) else IdentityRulesSpec()
            self._rules_offset = offset

    def advance_to(self, next_offset: int) -> None:
        """Note that no record before `next_offset` is missing: compaction may have removed the last ones of the topic."""
        self.next_offset = max(self.next_offset, next_offset)

    def pop_changed_keys(self) -> frozenset[str]:
        """Return the keys whose definition came, changed or went since this was last called."""
        changed_keys = frozenset(self._changed_keys)
        self._changed_keys.clear()
        return changed_keys

    def get(self, key: str) -> AnyDefinition | None:
        """Return the definition under `key`, `kind/name`; None when there is none."""
        return self._definitions.get(key)

    def of_kind(self, kind: type[D]) -> list[D]:
        """Return all definitions of one kind."""
        return [definition for definition in self._definitions.values() if isinstance(definition, kind)]

    @property
    def sources(self) -> list[Source]:
        """All sources."""
        return self.of_kind(Source)

    @property
    def rules(self) -> CompiledIdentityRules:
        """The identity rules, or the default ones without a definition. Raises UnreadableRules when their record cannot be read."""
        if self._rules is None:
            if any(record.key == RULES_KEY for record in self._bad.values()):
                raise UnreadableRules
            self._rules = CompiledIdentityRules.from_spec(
                self._rules_spec,
                secret=self._secret,
                country=self._country,
                sequence_number=self._rules_offset + 1,  # so it grows with each change
            )
        return self._rules

    @property
    def namespaces(self) -> Namespaces:
        """The shipped namespaces and those that the identity rules declare. A process needs no `secret` to ask for them."""
        return self._rules_spec.all_namespaces

    @property
    def admission(self) -> Admission:
        """The enrichment and the tracking plans of all sources."""
        if self._admission_is_stale:
            self._admission.replace_rules(admission_rules(self._definitions.values()))
            self._admission_is_stale = False
        return self._admission

    @property
    def plan(self) -> SegmentPlan:
        """All segments, computed traits and lists, compiled. Segments that form a circle are reported and left out."""
        if self._plan is None:
            self._left_out = {}
            try:
                self._plan = segment_plan_of(self._definitions.values())
            except CyclicSegments:
                self._plan = segment_plan_of(self._without_cycles())
        return self._plan

    def in_force(self) -> dict[str, AnyDefinition]:
        """Return the definitions by key, without segments that close a circle."""
        _ = self.plan
        return {key: definition for key, definition in self._definitions.items() if key not in self._left_out}

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """The records that cannot be read, and those of segments that close a circle, as far as the plan was asked for."""
        return (*self._bad.values(), *self._left_out.values())

    def offset_of(self, key: str) -> int:
        """Return the offset of the newest record under a key that is in force. Raises KeyError for another one."""
        return self._offsets[key]

    def _without_cycles(self) -> Iterable[AnyDefinition]:
        """Return the definitions in the order of their records, without segments that close a circle or refer too deep."""
        accepted: list[AnyDefinition] = []
        for key, definition in self._definitions.items():
            try:
                sort_by_reference({item.metadata.name: item.spec for item in (*accepted, definition) if isinstance(item, Segment)})
            except CyclicSegments as error:
                self._left_out[key] = BadRecord(self._offsets[key], key, str(error))
                self._report_bad(self._left_out[key])
                continue
            accepted.append(definition)
        return accepted
