"""The language's values in ClickHouse, as functions that a statement declares with WITH. Pure.

A value is JSON text, '' when it is missing. Each function does what the Python function of `domain.segments` named
above it does; a change on one side is a change on both ("Streaming equals SQL").
"""

from collections.abc import Iterable
from typing import Final

import re2

from domain.letters import STROKED_D
from domain.segments.dates import INSTANT_PATTERN
from domain.segments.registers import MAX_VALUE_CHARS

_INSTANT_SQL_REGEX: Final = INSTANT_PATTERN.replace("\\", "\\\\")

FUNCTIONS: Final = {
    "is_given": "v -> v NOT IN ('', 'null')",
    # By the first character: ClickHouse spells 5e19 out, and then takes it for a text, since it is beyond 64 bits.
    "is_text": "v -> startsWith(v, '\"')",
    "is_number": "v -> match(v, '^[-0-9]')",
    "number_of": "v -> JSONExtractFloat(v)",
    # comparisons.normalise_nfc
    "text_of": "v -> normalizeUTF8NFC(JSONExtractString(v))",
    # comparisons.fold_text
    "folded": rf"""v -> lowerUTF8(translateUTF8(
        replaceRegexpAll(normalizeUTF8NFD(JSONExtractString(v)), '\\p{{Mn}}', ''), '{STROKED_D}', '{"d" * len(STROKED_D)}'))""",
    # dates.parse_instant: NULL for anything else. A day that does not exist (30 February) is another one when it is
    # written again.
    "instant_of": """v -> arrayMap(g -> if(
        is_written(g) AND (has_zone(g) OR g[2] = ''), local_ms_of(g) - shift_ms_of(g), NULL), [date_groups(v)])[1]""",
    # The same in a zone, whose offsets from a local time on are those of domain.zone_offsets.
    "instant_in": """(v, starts, offsets) -> arrayMap(g -> if(is_written(g), local_ms_of(g) - if(has_zone(g), shift_ms_of(g),
        offsets[greatest(arrayLastIndex(start -> start <= local_ms_of(g), starts), 1)]), NULL), [date_groups(v)])[1]""",
    "date_groups": f"""v -> arrayMap(g -> arrayMap((part, n) -> if(n = 1, replaceAll(part, '/', '-'), part), g, arrayEnumerate(g)),
        [extractGroups(if(is_text(v), JSONExtractString(v), ''), '{_INSTANT_SQL_REGEX}')])[1]""",
    "is_written": """g -> ifNull(toString(toDate32OrNull(g[1])) = g[1], false) AND g[1] >= '1900-01-01' AND g[1] <= '2299-12-31'
        AND g[2] <= '23' AND g[3] <= '59' AND g[4] <= '59' AND g[8] <= '23' AND g[9] <= '59'""",
    "has_zone": "g -> g[6] != '' OR g[7] != ''",
    "local_ms_of": """g -> toInt64(ifNull(toInt32(toDate32OrNull(g[1])), 0)) * 86400000
        + ((toInt64OrZero(g[2]) * 60 + toInt64OrZero(g[3])) * 60 + toInt64OrZero(g[4])) * 1000
        + toInt64OrZero(substring(concat(g[5], '000'), 1, 3))""",
    "shift_ms_of": "g -> (toInt64OrZero(g[8]) * 60 + toInt64OrZero(g[9])) * 60000 * if(g[7] = '-', -1, 1)",
    # leaves.calendar.parse_date: whether a text begins with a day that exists
    "is_date": """t -> match(t, '^[0-9]{4}-[0-9]{2}-[0-9]{2}') AND substring(t, 1, 4) != '0000'
        AND is_day(toInt32OrZero(substring(t, 1, 4)), toInt32OrZero(substring(t, 6, 2)), toInt32OrZero(substring(t, 9, 2)))""",
    "is_day": """(y, m, d) -> d >= 1 AND d <= [31, if(y % 4 = 0 AND (y % 100 != 0 OR y % 400 = 0), 29, 28),
        31, 30, 31, 30, 31, 31, 30, 31, 30, 31][m] AND m >= 1""",
    # registers.parse_amount
    "is_amount": "v -> is_number(v) AND abs(number_of(v)) <= 1e12",
    "amount_of": "v -> toInt64(trunc(number_of(v))) * 1000000 + toInt64(round((number_of(v) - trunc(number_of(v))) * 1e6))",
    # registers.amount_to_number, as JSON text
    "amount_text": """a -> if(a % 1000000 = 0, toString(intDiv(a, 1000000)), concat(
        if(a < 0, '-', ''), toString(intDiv(abs(a), 1000000)), '.', leftPad(toString(abs(a) % 1000000), 6, '0')))""",
    # registers.canonical_text: '' where that is None
    "canonical": """v -> multiIf(is_text(v), concat('s', text_of(v)), is_number(v), concat('n', number_text(number_of(v))),
        JSONType(v) = 'Bool', concat('b', v), '')""",
    # registers._extract of a value: '' for a text that is too long to be stored
    "storable": f"v -> if(lengthUTF8(canonical(v)) > {MAX_VALUE_CHARS}, '', canonical(v))",
    "number_text": "f -> if(f = trunc(f) AND abs(f) < 1e15, toString(toInt64(f)), concat(if(f < 0, '-', ''), repr_of(abs(f))))",
    # Python's repr: the same digits as ClickHouse's, written with an exponent from 1e16 on and below 0.0001.
    "repr_of": r"""f -> arrayMap(g -> repr_of_digits(concat(g[1], g[2]), toInt32(length(g[1])) + toInt32OrZero(g[3])),
        [extractGroups(toString(f), '^([0-9]+)(?:\\.([0-9]+))?(?:e([+-]?[0-9]+))?$')])[1]""",
    "repr_of_digits": """(d, point) -> repr_of_trimmed(trimBoth(d, '0'), point - toInt32(length(d) - length(trimLeft(d, '0'))))""",
    "repr_of_trimmed": """(d, point) -> multiIf(
        point > 16 OR point <= -4, concat(substring(d, 1, 1), if(length(d) > 1, concat('.', substring(d, 2)), ''),
            if(point > 0, 'e+', 'e-'), leftPad(toString(abs(point - 1)), greatest(2, length(toString(abs(point - 1)))), '0')),
        point <= 0, concat('0.', repeat('0', toUInt32(greatest(-point, 0))), d),
        point >= length(d), concat(rightPad(d, toUInt32(point), '0'), '.0'),
        concat(substring(d, 1, point), '.', substring(d, point + 1)))""",
    # registers.parse_canonical, as JSON text
    "value_of": "c -> if(startsWith(c, 's'), toJSONString(substring(c, 2)), substring(c, 2))",
    # schemas.hashes.text_hash, as 8 bytes instead of 16 hex digits: fewer bytes of the same order
    "hash_of": "t -> substring(SHA256(t), 1, 8)",
}
_CALL_REGEX: Final = re2.compile(r"\b(\w+)\(")


def function_declarations(sql: str) -> str:
    """Return the declarations of all functions that a statement calls, each after those that it calls itself."""
    declarations: dict[str, str] = {}

    def add_required(sql_text: str) -> None:
        for name in _CALL_REGEX.findall(sql_text):
            if name in FUNCTIONS and name not in declarations:
                add_required(FUNCTIONS[name])
                declarations.setdefault(name, f"{FUNCTIONS[name]} AS {name}")

    add_required(sql)
    return _join_declarations(declarations.values())


def _join_declarations(declarations: Iterable[str]) -> str:
    return ",\n".join(f"    {declaration}" for declaration in declarations)
