"""What each error of ClickHouse means to Onefold: wait, correct something, send less, or give up a row.

An error of an insert decides over rows, so each code is in one list on purpose. Only the codes of `REFUSED` say that a row is at
fault. A code that no list has is no reason to give up a row: such an insert is retried, and the log names the code.
"""

from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, OperationalError

from runtime.errors import Misconfigured, OnefoldError, Permanent, Transient

MISCONFIGURED: Final = {
    192: "ClickHouse does not know the user: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    193: "ClickHouse refused the password: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    194: "ClickHouse asks for a password: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    516: "ClickHouse refused the user or the password: check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD",
    81: "the ClickHouse database does not exist: run `onefold prepare`",
    60: "a ClickHouse table is missing: run `onefold prepare`",
}
TRANSIENT: Final = frozenset(
    {
        3,  # unexpected end of file
        74, 75, 76, 77, 79, 88,  # a file that cannot be read, written, opened, closed, sought or synced
        243,  # not enough space
        159, 160,  # timeouts
        164,  # read only, for as long as an operator wants it
        202, 203,  # too many queries, no free connection
        209, 210, 225,  # network, keeper
        216, 373,  # a query of this id runs, the session is in use
        236, 394,  # aborted, cancelled
        242,  # a replica is read only
        252,  # too many parts
        319, 999,  # unknown status of an insert, keeper
        439,  # no thread is free
        1000, 1001, 1002,  # the operating system's errors, a full disk among them
    }
)  # fmt: skip
TOO_LARGE: Final = frozenset(
    {
        158, 307, 396,  # too many rows, bytes
        229,  # the statement is too long
        241,  # memory limit
    }
)  # fmt: skip
"""The insert as a whole asks for too much: its halves may fit. An insert of one row is retried, as for TRANSIENT."""
REFUSED: Final = frozenset(
    {
        469,  # a constraint
        395,  # throwIf
        6, 25, 26, 27, 38, 41, 72, 376, 441, 467, 675, 676, 677,  # a text that a column or an expression cannot parse
        33, 117, 130, 246,  # data that cannot be read
        12, 36, 42, 43, 53, 69, 70, 321, 407,  # a value that a column or an expression cannot take
        128, 131, 190,  # an array or a text that is too large, arrays of different sizes
        153,  # division by zero
        349,  # NULL
        427,  # a regular expression
        691,  # a word that the enumeration lacks
    }
)  # fmt: skip
"""The row itself can never be stored in the table as it is."""


class BatchTooLarge(Transient):
    """An insert asks for more than ClickHouse gives to one: a smaller one may succeed."""


class RowsRefused(Permanent):
    """At least one of the rows can never be stored as it is. The text names ClickHouse's code, and no value."""


def translate_error(error: ClickHouseError) -> OnefoldError:
    """Return our error for one of the driver's.

    The text has ClickHouse's code and its name, but not its message, because the message may quote personal data.
    """
    code, name = getattr(error, "code", None), getattr(error, "name", None)
    if isinstance(error, DataError) and code is None:
        return RowsRefused("a value does not fit its column")
    if code is None:
        kind = Transient if isinstance(error, OperationalError) else Permanent
        return kind(f"ClickHouse: {type(error).__name__}")
    if code in MISCONFIGURED:
        return Misconfigured(MISCONFIGURED[code])
    text = f"ClickHouse answered with error {code} ({name or 'unnamed'})"
    if code in TOO_LARGE:
        return BatchTooLarge(text)
    if code in REFUSED:
        return RowsRefused(text)
    return Transient(text) if code in TRANSIENT else Permanent(text)
