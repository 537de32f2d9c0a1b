"""The columns of a statement: expressions over one event, and aggregates over all events of one profile.

Equal expressions share one column, so a statement computes each of them once. Pure.
"""

from collections.abc import Sequence

from domain.segments.comparisons import PropertyComparison
from domain.segments.sql.comparisons import comparison_sql, value_at_path, value_below
from domain.segments.sql.query import QueryParameters, all_of, any_of

CURRENT_LABELS_SQL = "(SELECT node, argMax(profile_id, version) AS profile_id FROM labels GROUP BY node)"
"""Which profile each node belongs to. ClickHouse's dictionary of labels would be faster, but it is some seconds behind."""


class ProfileColumns:
    """Collects the columns that conditions need, in two layers: per event (`event_column`) and per profile (`profile_column`).

    `includes_all_profiles` is True when a profile without any relevant event can be a member. When it is False, only
    relevant events are read, which is what makes a statement over a large history fast.
    """

    def __init__(self, parameters: QueryParameters, at_ms: int) -> None:
        self.parameters = parameters
        self.at_ms = at_ms
        self.includes_all_profiles = False
        self._event_columns: dict[str, str] = {}
        self._profile_columns: dict[str, str] = {}
        self._window_start_by_label: dict[str, int | None] = {}
        self._reads_identify = False

    def event_column(self, expression: str) -> str:
        """Return the name of the column with this expression over one event. The expression may use earlier columns."""
        return self._event_columns.setdefault(expression, f"e{len(self._event_columns)}")

    def profile_column(self, aggregate: str) -> str:
        """Return the name of the column with this aggregate over the events of one profile."""
        return self._profile_columns.setdefault(aggregate, f"a{len(self._profile_columns)}")

    def has_label(self, label: str, within: int | None = None) -> str:
        """Return the condition that an event has this label and was not sent by a bot.

        `within` (ms) is how far back the caller needs such events; None means from the beginning. The statement reads the
        events of a label as far back as its most demanding caller needs.
        """
        start = None if within is None else self.at_ms - within
        existing = self._window_start_by_label.get(label, start)
        self._window_start_by_label[label] = None if start is None or existing is None else min(start, existing)
        return self.event_column(f"label = {self.parameters.text(label)} AND NOT bot")

    def matches_event(self, label: str, where: Sequence[PropertyComparison], within: int | None = None) -> str:
        """Return the condition that an event has this label and its properties are as `where` says."""
        is_named = self.has_label(label, within)
        conditions = [
            comparison_sql(self.parameters, comparison, self.property_value(is_named, comparison.prop)) for comparison in where
        ]
        return self.event_column(all_of([is_named, *conditions])) if conditions else is_named

    def property_value(self, event_condition: str, path: str) -> str:
        """Return the property at a path for events that fulfil `event_condition`, else ''. The JSON of others is not parsed."""
        return self.event_column(f"if({event_condition}, {value_at_path(self.parameters, 'properties', path)}, '')")

    def tie_breaker(self, event_condition: str) -> str:
        """Return the hash that orders events of the same millisecond, as in `Register.entry`; '' if `event_condition` is false."""
        return self.event_column(f"if({event_condition}, hash_of(concat(owner, id)), '')")

    def is_in_window(self, within: int | None) -> str:
        """Return the condition that an event is in (now - within, now]. The statement never reads events later than now."""
        return "true" if within is None else f"at_ms > {self.parameters.integer(self.at_ms - within)}"

    def trait_value(self, path: str) -> str:
        """Return the profile's trait at a path. The latest trusted call that sets a name decides its value, else the latest public.

        Null removes a trait.
        """
        whole_value, keys = self._trait_column(path), path.split(".")
        if len(keys) == 1:
            return whole_value
        return f"if(is_given({whole_value}), {whole_value}, {value_below(self.parameters, self._trait_column(keys[0]), keys[1:])})"

    def _trait_column(self, name: str) -> str:
        self._reads_identify = True
        key = self.parameters.text(name)
        sets_trait = self.event_column(f"type = 'identify' AND JSONHas(traits, {key})")
        value = self.event_column(f"if({sets_trait}, JSONExtractRaw(traits, {key}), '')")
        return self.profile_column(f"argMaxIf({value}, (trusted, at_ms, {self.tie_breaker(sets_trait)}), {sets_trait})")

    def sql(self) -> str:
        """Return the query with one row per profile: `profile_id` and the columns of a profile."""
        of_profile = "".join(f",\n        {aggregate} AS {name}" for aggregate, name in self._profile_columns.items())
        of_event = "".join(f",\n            {expression} AS {name}" for expression, name in self._event_columns.items())
        return f"""
    SELECT profile_id{of_profile}
    FROM
    (
        SELECT profile_id, at_ms, identifiers, trusted{of_event}
        FROM
        (
            SELECT if(l.profile_id = '', s.owner, l.profile_id) AS profile_id, toUnixTimestamp64Milli(s.time) AS at_ms,
                if(s.type = 'track', s.name, concat('$', s.type)) AS label, has(s.flags, 'bot') AS bot,
                s.owner AS owner, s.id AS id, s.type AS type, s.properties AS properties, s.traits AS traits, s.context AS context,
                s.identifiers AS identifiers, s.trusted AS trusted
            FROM event_store AS s FINAL
            LEFT ANY JOIN {CURRENT_LABELS_SQL} AS l ON l.node = s.owner
            WHERE s.owner != '' AND s.time <= fromUnixTimestamp64Milli({self.parameters.integer(self.at_ms)}, 'UTC')
        )
        WHERE {self._relevant_events_sql()}
    )
    GROUP BY profile_id"""

    def _relevant_events_sql(self) -> str:
        if self.includes_all_profiles:
            return "true"
        conditions = ["type = 'identify'"] if self._reads_identify else []
        for label, start in self._window_start_by_label.items():
            is_recent = "true" if start is None else f"at_ms > {self.parameters.integer(start)}"
            conditions.append(all_of([f"label = {self.parameters.text(label)}", is_recent]))
        return any_of(conditions)
