"""The definitions in force: a pure fold over the records of the `definitions` topic.

The topic is compacted: of each key (`Segment/vip`) the last record counts, and a record without a value removes the definition.
Every process feeds the records to a LiveDefinitions in their order, and asks for the views that it needs: the segment plan, the
identity rules, the sources, the admission of events.

Invariants:
- A record that cannot be used changes nothing: the definition that was in force under its key stays in force. So a mistake in one
  document never stops a segment, a source or a destination that worked before.
- A view is compiled when somebody asks for it after a change, not at each record. Example: a topic of 700 segments that is read
  at the start makes one plan, not 700.
- `next_offset` grows with every record, also with one that cannot be used: all records before it are taken into account. Agents
  compare it with the offset that a stored state was computed with (see `Checkpoint.definitions_offset`).
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from domain.definitions.admission_rules import admission_rules
from domain.definitions.kinds import RULES_KEY, AnyDefinition, IdentityRules, InvalidDefinition, Segment, Source, decode_definition
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.namespaces import Namespaces
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from domain.intake.admission import Admission
from domain.segments.plan import CyclicSegments, SegmentPlan, sort_by_reference

EVERY_KIND: Final = ("",)
_ADMISSION_KINDS: Final = ("Source/", "TrackingPlan/")
_PLAN_KINDS: Final = ("Segment/", "ComputedTrait/", "List/")

D = TypeVar("D", bound=AnyDefinition)
ReportInvalid = Callable[[str, str], None]
"""Called with (key, reason) of a definition that cannot be used."""


def ignore_invalid(key: str, reason: str) -> None:
    """Drop the report."""


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
        report_invalid: ReportInvalid = ignore_invalid,
    ) -> None:
        self._prefixes = prefixes
        self._secret = secret
        self._country = country
        self._admission = admission or Admission()
        self._admission_is_stale = False
        self._report_invalid = report_invalid
        self._definitions: dict[str, AnyDefinition] = {}
        self._changed_keys: set[str] = set()
        self._plan: SegmentPlan | None = SegmentPlan()
        self._rules: CompiledIdentityRules | None = DEFAULT_RULES
        self._rules_spec = IdentityRulesSpec()
        self._rules_offset = 0
        self.next_offset = 0
        """The first offset of the topic that is not taken into account yet."""

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take in the record at `offset`. One that cannot be used is reported and changes nothing but `next_offset`."""
        self.next_offset = offset + 1
        name = (key or b"").decode(errors="replace")
        if not name.startswith(self._prefixes):
            return
        try:
            definition = None if value is None else _decode(value, name)
        except InvalidDefinition as error:
            self._report_invalid(name, str(error))
            return
        # Removed first, so that the dictionary is in the order of the last records: of segments that form a circle the one that
        # closed it is left out, and not the ones that were in force before.
        self._definitions.pop(name, None)
        if definition is not None:
            self._definitions[name] = definition
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
        """The identity rules, or the default ones when none are defined."""
        if self._rules is None:
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
            try:
                self._plan = segment_plan_of(self._definitions.values())
            except CyclicSegments:
                self._plan = segment_plan_of(self._without_cycles())
        return self._plan

    def _without_cycles(self) -> Iterable[AnyDefinition]:
        """Return the definitions in the order of their records, without segments that close a circle or refer too deep."""
        accepted: list[AnyDefinition] = []
        for definition in self._definitions.values():
            try:
                sort_by_reference({item.metadata.name: item.spec for item in (*accepted, definition) if isinstance(item, Segment)})
            except CyclicSegments as error:
                self._report_invalid(definition.key, str(error))
                continue
            accepted.append(definition)
        return accepted


def _decode(value: bytes, key: str) -> AnyDefinition:
    """Decode a definition. Raises InvalidDefinition also when it is not the one that its key names."""
    definition = decode_definition(value, key)
    if definition.key != key:
        raise InvalidDefinition(f"{key}: the record defines {definition.key}: write it under its own key")
    return definition
