"""What a statement works out of each event, and of each profile's events: columns, each once. Pure."""

from collections.abc import Sequence

from domain.segments.comparisons import PropertyCondition
from domain.segments.sql.query import Parameters, all_of, any_of
from domain.segments.sql.comparisons import at_path, below, holds

NOW_LABELS = "(SELECT node, argMax(profile_id, version) AS profile_id FROM labels GROUP BY node)"
"""Which profile each node belongs to. The dictionary would be quicker, and some seconds behind."""


class Rows:
    """Two layers: of each event (`event`), and of each profile (`profile`), which the conditions of a segment are made of.

    `everybody` says that profiles without any of the events concerned count too; else only those events are read.
    """

    def __init__(self, parameters: Parameters, at_ms: int) -> None:
        self.parameters = parameters
        self.at_ms = at_ms
        self.everybody = False
        self._of_event: dict[str, str] = {}
        self._of_profile: dict[str, str] = {}
        self._concerned: dict[str, int | None] = {}
        self._identify = False

    def event(self, expression: str) -> str:
        """The name of a column of each event. Its expression may use those before it."""
        return self._of_event.setdefault(expression, f"e{len(self._of_event)}")

    def profile(self, aggregate: str) -> str:
        """The name of a column of each profile, an aggregate over columns of its events."""
        return self._of_profile.setdefault(aggregate, f"a{len(self._of_profile)}")

    def named(self, label: str, within: int | None = None) -> str:
        """Whether an event has this label, and no bot made it; `within` says how far back they are needed."""
        start = None if within is None else self.at_ms - within
        held = self._concerned.get(label, start)
        self._concerned[label] = None if start is None or held is None else min(start, held)
        return self.event(f"label = {self.parameters.text(label)} AND NOT bot")

    def matching(self, label: str, where: Sequence[PropertyCondition], within: int | None = None) -> str:
        """Whether an event has this label and its properties are as `where` says."""
        named = self.named(label, within)
        conditions = [holds(self.parameters, one, self.property_value(named, one.prop)) for one in where]
        return self.event(all_of([named, *conditions])) if conditions else named

    def property_value(self, chosen: str, path: str) -> str:
        """The property at a path, of the events that `chosen` says."""
        return self.event(f"if({chosen}, {at_path(self.parameters, 'properties', path)}, '')")

    def tie(self, chosen: str) -> str:
        """What tells events of one instant apart, of the events that `chosen` says."""
        return self.event(f"if({chosen}, hash_of(concat(owner, id)), '')")

    def after(self, within: int | None) -> str:
        """Whether an event is in a window that ends now; it is never after now."""
        return "true" if within is None else f"at_ms > {self.parameters.whole(self.at_ms - within)}"

    def trait(self, path: str) -> str:
        """The profile's trait at a path. Of each name that which was said last holds; null takes it back."""
        whole, parts = self._trait(path), path.split(".")
        if len(parts) == 1:
            return whole
        return f"if(is_given({whole}), {whole}, {below(self.parameters, self._trait(parts[0]), parts[1:])})"

    def _trait(self, name: str) -> str:
        self._identify = True
        key = self.parameters.text(name)
        said = self.event(f"type = 'identify' AND JSONHas(traits, {key})")
        value = self.event(f"if({said}, JSONExtractRaw(traits, {key}), '')")
        return self.profile(f"argMaxIf({value}, (at_ms, {self.tie(said)}), {said})")

    def sql(self) -> str:
        """One row per profile: `profile_id` and the columns."""
        of_profile = "".join(f",\n        {aggregate} AS {name}" for aggregate, name in self._of_profile.items())
        of_event = "".join(f",\n            {expression} AS {name}" for expression, name in self._of_event.items())
        return f"""
    SELECT profile_id{of_profile}
    FROM
    (
        SELECT profile_id, at_ms, identifiers{of_event}
        FROM
        (
            SELECT if(l.profile_id = '', s.owner, l.profile_id) AS profile_id, toUnixTimestamp64Milli(s.time) AS at_ms,
                if(s.type = 'track', s.name, concat('$', s.type)) AS label, has(s.flags, 'bot') AS bot,
                s.owner AS owner, s.id AS id, s.type AS type, s.properties AS properties, s.traits AS traits, s.context AS context,
                s.identifiers AS identifiers
            FROM event_store AS s FINAL
            LEFT ANY JOIN {NOW_LABELS} AS l ON l.node = s.owner
            WHERE s.time <= fromUnixTimestamp64Milli({self.parameters.whole(self.at_ms)}, 'UTC')
        )
        WHERE {self._wanted()}
    )
    GROUP BY profile_id"""

    def _wanted(self) -> str:
        if self.everybody:
            return "true"
        found = ["type = 'identify'"] if self._identify else []
        for label, start in self._concerned.items():
            recent = "true" if start is None else f"at_ms > {self.parameters.whole(start)}"
            found.append(all_of([f"label = {self.parameters.text(label)}", recent]))
        return any_of(found)
