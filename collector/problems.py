"""Every answer that is not "kept": one table from a problem to its status, so that clients decide rightly whether to send again."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Answer:
    """`retry_after_s` goes into Retry-After. Clients send again after 408, 429 and 503, and drop the data after other 4xx."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None


class Problem(Enum):
    """Why a request was not taken."""

    WRITE_KEY = Answer(401, "invalid_write_key", "No source has this write key: see `onefold status`.")
    UNPARSABLE = Answer(400, "invalid_json", "The body is not JSON in UTF-8 (it may be gzipped).")
    NOT_AN_OBJECT = Answer(400, "not_an_object", "The body must be a JSON object.")
    NO_BATCH = Answer(400, "invalid_batch", "The body must be an object with a list of events in `batch`.")
    CUT_OFF = Answer(400, "incomplete_body", "The connection ended before the body did.")
    SLOW = Answer(408, "body_timeout", "The body did not come in time: send it again.")
    TOO_LARGE = Answer(413, "too_large", "The body, unpacked and with the batch's context in each event, is over the limit.")
    TOO_MANY = Answer(413, "too_many_events", "The batch holds more events than the limit: send smaller batches.")
    ENCODING = Answer(415, "unsupported_encoding", "Send the body as it is or gzipped.")
    NOT_FOUND = Answer(404, "not_found", "There is nothing at this address.")
    METHOD = Answer(405, "method_not_allowed", "Send events with POST.")
    STARTING = Answer(503, "starting", "The sources are not known yet: send it again.", 1)
    BUSY = Answer(503, "overloaded", "Too many requests are under way: send it again.", 1)
    BROKER = Answer(503, "unavailable", "The events could not be stored: send them again.", 2)
    BUG = Answer(503, "internal_error", "An unexpected error: send it again.", 5)


class Refusal(Exception):
    """Carries a problem to where it is answered."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.name)
        self.problem = problem
