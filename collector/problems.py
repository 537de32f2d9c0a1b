"""Every answer but success, in one table from a problem to its status. Clients decide by the status whether to send again."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from domain.intake.rejection import BodyProblem
from runtime.http.limits import Refusal
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """The answer to a problem. `retry_after_s` becomes the header Retry-After.

    Clients send again after 408, 429 and 503, and drop their data after any other 4xx.
    """

    status: int
    code: str
    message: str
    retry_after_s: int | None = None


class Problem(Enum):
    """Why a request was refused."""

    WRITE_KEY = ProblemAnswer(401, "invalid_write_key", "No source has this write key: see `onefold status`.")
    SIGNATURE = ProblemAnswer(401, "invalid_signature", "The signature does not match this body and these headers.")
    STALE = ProblemAnswer(401, "stale_signature", "The signed time is further from now than the source allows: sign it again.")
    WEBHOOK_SECRET = ProblemAnswer(503, "no_webhook_secret", "The source's secret is not set here: send it again later.", 60)
    UNPARSABLE = ProblemAnswer(400, BodyProblem.UNPARSABLE.value, "The body is not JSON in UTF-8 (it may be gzipped).")
    NOT_AN_OBJECT = ProblemAnswer(400, BodyProblem.NOT_AN_OBJECT.value, "The body must be a JSON object.")
    NO_BATCH = ProblemAnswer(400, BodyProblem.NO_BATCH.value, "The body must be an object with a list of events in `batch`.")
    HTTP = ProblemAnswer(400, "invalid_http", "This is not an HTTP request.")
    GZIP = ProblemAnswer(400, "invalid_gzip", "The body begins like gzip, but cannot be decompressed.")
    QUERY = ProblemAnswer(400, "invalid_query", "`timezone` must be a name such as Asia/Ho_Chi_Minh.")
    FILE = ProblemAnswer(400, "invalid_file", "The file cannot be read as rows.")
    ORIGIN = ProblemAnswer(
        403, "origin_not_allowed", "The source does not list this origin: add it to the source's `cors_origins`."
    )
    UNTRUSTED_SOURCE = ProblemAnswer(
        403, Reason.UNTRUSTED_SOURCE.value, "A public source imports nothing: use the key of a trusted one, such as `server`."
    )
    CUT_OFF = ProblemAnswer(400, "incomplete_body", "The connection ended before the body did.")
    SLOW = ProblemAnswer(408, "body_timeout", "The body did not arrive in time: send it again.")
    TOO_LARGE = ProblemAnswer(
        413,
        BodyProblem.TOO_LARGE.value,
        "The body is over the limit. Its size counts decompressed, with the batch's context copied into each event.",
    )
    RATIO = ProblemAnswer(413, "compressed_too_much", "The body decompresses to far more than its size: send it uncompressed.")
    TOO_MANY = ProblemAnswer(413, BodyProblem.TOO_MANY.value, "The batch has more events than the limit: send smaller batches.")
    ENCODING = ProblemAnswer(415, "unsupported_encoding", "Send the body as it is or gzipped.")
    HEADERS = ProblemAnswer(431, "headers_too_large", "The address and the headers are over the limit.")
    RATE = ProblemAnswer(429, "rate_limited", "The source has sent more events than its rate allows: send them again.", 1)
    NOT_FOUND = ProblemAnswer(404, "not_found", "There is nothing at this address.")
    LINK = ProblemAnswer(404, "invalid_link", "This link was not made here, or it has expired.")
    SNIPPET = ProblemAnswer(
        404,
        "no_analytics_js",
        "analytics.js is not installed: run `onefold analytics-js`, set ONEFOLD_COLLECTOR_ANALYTICS_JS_DIR to the directory that "
        "it names, then start the collector again.",
    )
    METHOD = ProblemAnswer(405, "method_not_allowed", "This address takes another method: see the header Allow.")
    STARTING = ProblemAnswer(503, "starting", "The collector has not read the sources yet: send it again.", 1)
    SOURCE_UNREADABLE = ProblemAnswer(
        503, "source_unreadable", "The definition of a source cannot be read, and this may be its key: send it again later.", 60
    )
    BUSY = ProblemAnswer(503, "overloaded", "Too many requests are in progress: send it again.", 1)
    DISK = ProblemAnswer(503, "disk_full", "The disk of the stores is nearly full: send the events again later.", 30)
    BROKER = ProblemAnswer(503, "unavailable", "The events could not be stored: send them again.", 2)
    BUG = ProblemAnswer(503, "internal_error", "An unexpected error occurred: send it again.", 5)


PROBLEM_OF_BODY: Final[Mapping[BodyProblem, Problem]] = {
    BodyProblem.UNPARSABLE: Problem.UNPARSABLE,
    BodyProblem.NOT_AN_OBJECT: Problem.NOT_AN_OBJECT,
    BodyProblem.NO_BATCH: Problem.NO_BATCH,
    BodyProblem.TOO_MANY: Problem.TOO_MANY,
    BodyProblem.TOO_LARGE: Problem.TOO_LARGE,
}
"""The answer to each problem that intake finds with a body."""


PROBLEM_OF_REFUSAL: Final[Mapping[Refusal, Problem]] = {
    Refusal.INVALID: Problem.HTTP,
    Refusal.HEADERS: Problem.HEADERS,
    Refusal.TOO_LARGE: Problem.TOO_LARGE,
    Refusal.SLOW: Problem.SLOW,
    Refusal.BUSY: Problem.BUSY,
}
"""The answer of the port when a client exceeds a bound of the protocol."""


class RequestRefused(Exception):
    """Carries a problem from a step to the place that answers it.

    `retry_after_s` and `message` replace the problem's own. `headers`, when given, replace the headers of the answer that were
    known before.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(problem.name)
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.headers = headers
        self.message = message
