"""Decide what becomes of rows of a file: an event each, or a quarantine record that holds the row as it is in the file. Pure."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from domain.intake.context import IntakeContext
from domain.intake.decide_calls import CallIntake, IntakeOutcome
from domain.intake.envelope import single_calls
from domain.intake.import_orders import ImportRow
from domain.intake.rejection import BodyProblem, Rejection

IMPORT_ID_PREFIX: Final = "import-"
"""Begins the id of a quarantined row, behind the stage. A replay refuses such a record: the file is imported again instead."""


def decide_rows(intake: CallIntake, rows: Sequence[ImportRow], intake_context: IntakeContext) -> IntakeOutcome | BodyProblem:
    """Return the outcome of some rows. Its rejections are in the order of the file; `index` counts from the first of these rows."""
    calls = [(position, row.call) for position, row in enumerate(rows) if not isinstance(row.call, Rejection)]
    outcome = intake.decide(single_calls([call for _, call in calls]), intake_context)
    if isinstance(outcome, BodyProblem):
        return outcome
    for rejection in outcome.rejections:  # their index counts the calls alone: make it count the rows
        rejection["index"] = calls[rejection["index"]][0]
    for position, row in enumerate(rows):
        if isinstance(row.call, Rejection):
            raw = row.raw.encode("utf-8", "surrogateescape")
            content_hash = blake2b(raw, digest_size=16, person=b"import").hexdigest()
            record = intake.quarantine(raw, row.call, intake_context, f"{IMPORT_ID_PREFIX}{content_hash}")
            outcome.add_rejection(record, row.call, position, None)
    outcome.rejections = [{**rejection, "line": rows[rejection["index"]].line} for rejection in outcome.rejections]
    outcome.rejections.sort(key=lambda rejection: rejection["line"])
    return outcome
