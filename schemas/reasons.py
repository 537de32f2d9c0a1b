"""The closed list of reasons why a record was not stored. The page `docs/reasons.md` is made from it."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record was quarantined; `explanation` says it for people."""

    UNPARSABLE = "unparsable"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    NO_IDENTIFIER = "no_identifier"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    TOO_DEEP = "too_deep"
    TOO_MANY_PROPERTIES = "too_many_properties"
    NAME_TOO_LONG = "name_too_long"
    UNKNOWN_SOURCE = "unknown_source"
    UNTRUSTED_SOURCE = "untrusted_source"
    TOO_OLD = "too_old"
    PLAN_VIOLATION = "plan_violation"
    STORE_REFUSED = "store_refused"
    POISON = "poison"

    @property
    def explanation(self) -> str:
        """Return one sentence: what is wrong, and the cure."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Reason.UNPARSABLE: "The bytes are not JSON in UTF-8: send UTF-8 JSON.",
    Reason.NOT_AN_OBJECT: "The JSON value is not an object: send an object, or an object with `batch`.",
    Reason.UNKNOWN_TYPE: "Onefold has no such `type` of event, or no rule of the source's mapping fits: correct one of them.",
    Reason.UNKNOWN_VERSION: "The record's `version` is newer than this Onefold: upgrade it, then replay.",
    Reason.WRONG_TYPE: "A field holds another kind of value than its schema says; the detail names the field.",
    Reason.MISSING_FIELD: "A field that the event's type needs is missing; the detail names it.",
    Reason.NO_IDENTIFIER: "No usable identifier is left (none given, or all are blocked values): send userId or anonymousId.",
    Reason.TOO_LARGE: "The event, one of its traits, or a record made of it is larger than the limit: send less.",
    Reason.TOO_MANY: "The batch holds more events than the limit: send smaller batches.",
    Reason.TOO_DEEP: "A value is nested deeper than 32 levels: send it flatter, or as text.",
    Reason.TOO_MANY_PROPERTIES: "An object has more than 1000 names, or a call more than 250 traits: send lists of objects.",
    Reason.NAME_TOO_LONG: "The name of a property is longer than 256 characters: put what it says into a value.",
    Reason.UNKNOWN_SOURCE: "No Source of the name that the record gives has `topic_ingress: true`: apply one, then replay.",
    Reason.UNTRUSTED_SOURCE: "A public source sends no calls, and names no `crm_id` and no `caller_number`: use a trusted one.",
    Reason.TOO_OLD: "The event of a public source is more than 30 days old: send or import it by a trusted one.",
    Reason.PLAN_VIOLATION: "The event breaks its tracking plan; the detail names path and rule: correct the sender or the plan.",
    Reason.STORE_REFUSED: "ClickHouse never takes a row of it; the detail has its error: correct the table, then replay.",
    Reason.POISON: "Processing this one record failed again and again with an unexpected error: report it, then replay.",
}
