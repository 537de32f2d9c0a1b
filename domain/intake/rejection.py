"""Why something that was sent became no event. A rejected call goes into quarantine; a body without calls is refused as well.

Nothing here quotes a value: reasons, fields and rules are safe to log and to answer with.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a call became no event. `path` names the field of the call, or is empty when the call itself is the problem.

    `touchpoint_id` and `raw` are set only for lines of a touchpoint: the id that names the line for ever, and its bytes.
    """

    reason: Reason
    detail: str
    path: str = ""
    touchpoint_id: str = ""
    raw: bytes = b""


class CallRejected(Exception):
    """Carries a rejection from a helper to the function that returns it. It never leaves the module that raises it."""

    def __init__(self, reason: Reason, detail: str, path: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(reason, detail, path)


class BodyProblem(Enum):
    """Why a request's body cannot be read as calls. The value is the code that clients read in the answer."""

    UNPARSABLE = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    NO_BATCH = "invalid_batch"
    TOO_MANY = "too_many_events"
    TOO_LARGE = "too_large"


BODY_REJECTIONS: Final = {
    BodyProblem.UNPARSABLE: Rejection(Reason.UNPARSABLE, "the body is not JSON in UTF-8"),
    BodyProblem.NOT_AN_OBJECT: Rejection(Reason.NOT_AN_OBJECT, "the body must be an object"),
    BodyProblem.NO_BATCH: Rejection(Reason.WRONG_TYPE, "the body must be an object with a list", "batch"),
}
"""With these problems the body is kept in quarantine. With the others nothing is kept, because the client can send less at once."""
