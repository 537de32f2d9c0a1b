"""The error tree.

    OnefoldError
    ├── Misconfigured      the operator must change something before it can work
    ├── Transient          the same call may succeed later: retried with bounds
    │   ├── AnotherLog     Kafka is not the one that the stores belong to: an operator decides
    │   └── StateLost      a store came back without its last writes: the process starts again from the stored position
    └── Permanent          the same call will never succeed: the record is quarantined
        ├── TooLarge       a record is larger than the broker takes
        └── Invalid        bad input; names the field, the value's kind and the cure

Foreign errors are translated into these at the edge where they arise, with the cause chained.
"""


class OnefoldError(Exception):
    """Root of every error that Onefold raises on purpose."""


class Misconfigured(OnefoldError):
    """A setting or the surroundings are wrong; the message names the setting and the cure."""


class Transient(OnefoldError):
    """A fault that may pass; retry with backoff."""


class AnotherLog(Transient):
    """Kafka has another log than the one that the stores belong to. Retried, because an operator may adopt it at any time."""


class StateLost(Transient):
    """A store answered with a position older than the one this process has written: it has lost writes. Never retried."""


class Permanent(OnefoldError):
    """A fault that no retry can cure."""


class TooLarge(Permanent):
    """One of the records is larger than the broker takes; none, some or all of the others were written."""


class Invalid(Permanent):
    """Input that cannot be used. `path` names the field, `reason` is a machine-readable word."""

    def __init__(self, message: str, *, path: str = "", reason: str = "invalid") -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason
