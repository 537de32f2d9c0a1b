"""Every answer that is not "kept": one table from a problem to its status, so that clients decide rightly whether to send again."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """`retry_after_s` goes into Retry-After. Clients send again after 408, 429 and 503, and drop the data after other 4xx."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None


class Problem(Enum):
    """Why a request was not taken."""

    WRITE_KEY = ProblemAnswer(401, "invalid_write_key", "No source has this write key: see `onefold status`.")
    SIGNATURE = ProblemAnswer(401, "invalid_signature", "No secret of the source has signed this body and these headers.")
    STALE = ProblemAnswer(401, "stale_signature", "What was signed is older or newer than the source allows: sign it anew.")
    REPLAYED = ProblemAnswer(409, "replayed", "This very delivery was taken before. A new attempt is signed with a new instant.")
    WEBHOOK_SECRET = ProblemAnswer(503, "no_webhook_secret", "The source's secret is not set here: send it again later.", 60)
    UNPARSABLE = ProblemAnswer(400, "invalid_json", "The body is not JSON in UTF-8 (it may be gzipped).")
    NOT_AN_OBJECT = ProblemAnswer(400, "not_an_object", "The body must be a JSON object.")
    NO_BATCH = ProblemAnswer(400, "invalid_batch", "The body must be an object with a list of events in `batch`.")
    GZIP = ProblemAnswer(400, "invalid_gzip", "The body begins like gzip and is broken.")
    QUERY = ProblemAnswer(400, "invalid_query", "`timezone` reads like Asia/Ho_Chi_Minh.")
    ORIGIN = ProblemAnswer(
        403, "origin_not_allowed", "The source does not list this origin: add it to the source's `cors_origins`."
    )
    CUT_OFF = ProblemAnswer(400, "incomplete_body", "The connection ended before the body did.")
    SLOW = ProblemAnswer(408, "body_timeout", "The body did not come in time: send it again.")
    TOO_LARGE = ProblemAnswer(413, "too_large", "The body, unpacked and with the batch's context in each event, is over the limit.")
    RATIO = ProblemAnswer(
        413, "compressed_too_much", "The body unpacks to far more than it is: send it less compressed, or as it is."
    )
    TOO_MANY = ProblemAnswer(413, "too_many_events", "The batch holds more events than the limit: send smaller batches.")
    ENCODING = ProblemAnswer(415, "unsupported_encoding", "Send the body as it is or gzipped.")
    HEADERS = ProblemAnswer(431, "headers_too_large", "The address and headers are over the limit.")
    RATE = ProblemAnswer(429, "rate_limited", "The source has sent more events than its rate allows: send them again.", 1)
    NOT_FOUND = ProblemAnswer(404, "not_found", "There is nothing at this address.")
    LINK = ProblemAnswer(404, "invalid_link", "This link was not made here, or it has expired.")
    SNIPPET = ProblemAnswer(
        404,
        "no_analytics_js",
        "analytics.js is not here: run `onefold analytics-js`, set ONEFOLD_COLLECTOR_ANALYTICS_JS_DIR to the directory that it "
        "names, then start the collector again.",
    )
    METHOD = ProblemAnswer(405, "method_not_allowed", "This address takes another method: see Allow.")
    STARTING = ProblemAnswer(503, "starting", "The sources are not known yet: send it again.", 1)
    BUSY = ProblemAnswer(503, "overloaded", "Too many requests are under way: send it again.", 1)
    BROKER = ProblemAnswer(503, "unavailable", "The events could not be stored: send them again.", 2)
    BUG = ProblemAnswer(503, "internal_error", "An unexpected error: send it again.", 5)


class RequestRefused(Exception):
    """Carries a problem to where it is answered. `retry_after_s` is for this one request; `headers` come on top of the answer's."""

    def __init__(self, problem: Problem, *, retry_after_s: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.name)
        self.problem, self.retry_after_s, self.headers = problem, retry_after_s, headers or {}
